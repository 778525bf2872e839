"""What a server says about its models means the same to a request, a pool and a command."""

import json

import pytest

from timestep.cli.inventory import look
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.host_choice import Hosts
from timestep.ollama.wire import Wire

ABLE = ("completion", "tools")


def sized(length):
    return {"model_info": {"general.architecture": "a", "a.context_length": length}}


@pytest.fixture
async def wire(fake_ollama):
    wire = Wire(Endpoint(fake_ollama.url))
    yield wire
    await wire.aclose()


@pytest.mark.parametrize(
    ("document", "able", "length"),
    [
        ({"capabilities": list(ABLE), **sized(4096)}, ABLE, 4096),
        ({"capabilities": []}, (), None),
        ({"capabilities": [*ABLE, 5, None]}, ABLE, None),
        ({"capabilities": "tools"}, None, None),
        ({"capabilities": {"tools": True}}, None, None),
        ({"capabilities": None}, None, None),
        (sized(True), None, None),
        (sized(0), None, None),
        (sized(-1), None, None),
        (sized(10**400), None, None),
        (sized("4096"), None, None),
        ({"model_info": {"a.context_length": 4096}}, None, None),
        ({"model_info": "much"}, None, None),
        ({}, None, None),
    ],
)
async def test_a_request_and_a_command_read_a_model_alike(
    fake_ollama, wire, document, able, length
):
    fake_ollama.fail(200, body=json.dumps(document), path="/api/show", times=2)

    known = await Catalogue(wire).abilities("m", ask=True)
    [offer] = await look(wire.endpoint, "m")

    assert known.capabilities == (None if able is None else frozenset(able))
    assert offer.capabilities == able
    assert (known.context_length, offer.context_length) == (length, length)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"name": "x:1", "model": "x:1"}, "x:1"),
        ({"model": "x:1"}, "x:1"),
        ({"name": "x:1"}, "x:1"),
        ({"name": "x:1", "model": ""}, "x:1"),
        ({"name": 7}, None),
        ({}, None),
    ],
)
async def test_requests_pools_and_commands_name_a_model_alike(fake_ollama, wire, entry, name):
    listed = {"models": [{**entry, "capabilities": ["tools"], "context_length": True}]}
    for path in ("/api/tags", "/api/ps"):
        fake_ollama.fail(200, body=json.dumps(listed), path=path, times=2)
    if name is not None:
        fake_ollama.fail(404, path="/api/show")
    hosts = Hosts([wire], clock=lambda: 0.0)

    await hosts.look()
    able = await Catalogue(wire)._models_with("tools")
    offers = await look(wire.endpoint)

    names = [] if name is None else [name]
    assert able == names
    assert [host.loaded for host in hosts] == [set(names)]
    assert [(offer.name, offer.loaded) for offer in offers] == [(name, 0) for name in names]
