"""The wire: what goes over it, and what becomes of everything that can go wrong there."""

import asyncio
import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from agents import ModelSettings, ModelTracing

import timestep
from timestep import OllamaModel, OllamaModelProvider
from timestep.errors import (
    OllamaConnectionError,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
    UnsupportedInputError,
)
from timestep.net import limits
from timestep.net.encoding import encode
from timestep.net.timeouts import Timeouts
from timestep.ollama import lines
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.wire import Wire
from timestep.testing import Close, Reset, Split


@pytest.fixture
def wire(fake_ollama):
    return Wire(Endpoint(fake_ollama.url))


def whole(model, settings=None):
    return model.get_response(
        None, "Hi", settings or ModelSettings(), [], None, [], ModelTracing.DISABLED
    )


def text_of(response):
    return response.output[-1].content[0].text


# Time limits


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        (None, (5.0, 600.0, 300.0)),
        (3, (3.0, 3.0, 3.0)),
        ({}, (5.0, 600.0, 300.0)),
        ({"first_byte": 9}, (5.0, 9.0, 300.0)),
        ({"connect": None, "idle": None}, (None, 600.0, None)),
        (Timeouts(connect=1, first_byte=2, idle=3), (1.0, 2.0, 3.0)),
    ],
)
def test_time_limits_are_a_number_or_named(value, limits):
    timeouts = Timeouts.of(value)

    assert (timeouts.connect, timeouts.first_byte, timeouts.idle) == limits


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (0, "timeout must be a positive number"),
        (True, "timeout must be a positive number"),
        ("5", "timeout must be a positive number"),
        (math.inf, "timeout must be a positive number"),
        ({"idle": -1}, "idle in timeout must be a positive number"),
        ({"read": 5}, "no 'read'"),
    ],
)
def test_other_time_limits_are_refused_by_name(value, named):
    with pytest.raises(ValueError, match=named):
        Timeouts.of(value)


# Requests


def test_a_request_is_plain_json():
    body = {"text": "ä\u2028\x85", "number": 1.5, "none": None, "list": (1, 2)}

    assert json.loads(encode(body)) == {**body, "list": [1, 2]}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"messages": [{"content": "fine"}, {"content": "\ud800"}]}, r"messages\[1\]\.content"),
        ({"options": {"seed": object()}}, r"options\.seed"),
        ({"\ud800": 1}, "a value in it"),
    ],
)
def test_what_json_cannot_say_is_refused_by_its_place(body, path):
    with pytest.raises(UnsupportedInputError, match=path):
        encode(body)


def test_a_request_without_end_is_refused():
    body = {}
    body["again"] = body

    with pytest.raises(UnsupportedInputError, match="cannot be written as JSON"):
        encode(body)


async def test_headers_of_the_endpoint_and_of_the_call_go_along(fake_ollama, transport):
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(base_url=fake_ollama.url, headers={"X-Team": "a"})

    await whole(provider.get_model("m"), ModelSettings(extra_headers={"X-Call": "b"}))

    headers = fake_ollama.requests[0].headers
    assert (headers["x-team"], headers["x-call"]) == ("a", "b")
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"


async def test_a_header_of_the_call_replaces_the_same_one_in_another_case(fake_ollama, transport):
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(base_url=fake_ollama.url, headers={"X-Team": "a"}, api_key="k")
    own = {"X-TEAM": "b", "Authorization": "Bearer own", "Host": "localhost", "User-Agent": "me"}

    await whole(provider.get_model("m"), ModelSettings(extra_headers=own))

    headers = fake_ollama.requests[0].headers
    assert {name: headers[name.lower()] for name in own} == own


async def test_an_impossible_header_is_refused_before_the_request(fake_ollama):
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    settings = ModelSettings(extra_headers={"x-call": "a\r\nx-evil: b"})

    with pytest.raises(UnsupportedInputError, match="x-call"):
        await whole(provider.get_model("m"), settings)

    assert fake_ollama.requests == []


async def test_nothing_opens_before_the_first_request(fake_ollama):
    OllamaModelProvider(base_url=fake_ollama.url).get_model("m")
    OllamaModel("m", Wire(Endpoint(fake_ollama.url)))

    assert fake_ollama.open_connections == 0


# Answers


async def test_any_split_of_the_bytes_gives_the_same_answer(fake_ollama, transport):
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")
    fake_ollama.reply("one ä two", fault=Split(1))

    assert text_of(await whole(model)) == "one ä two"


async def test_a_compression_that_was_not_asked_for_is_undone(fake_ollama, transport):
    line = {"message": {"role": "assistant", "content": "small"}, "done": True}
    fake_ollama.fail(
        200, body=gzip.compress(json.dumps(line).encode()), headers={"Content-Encoding": "gzip"}
    )
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    assert text_of(await whole(model)) == "small"


@pytest.mark.parametrize("fault", [Reset(0), Close(0), Reset(2), Close(2), Close(after_bytes=30)])
async def test_a_connection_that_breaks_is_named_as_such(fake_ollama, transport, fault):
    fake_ollama.reply("one two three four", fault=fault)
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    with pytest.raises(
        OllamaConnectionError, match=r"The connection to http://127\S* broke"
    ) as caught:
        await whole(model)

    assert caught.value.__cause__ is not None
    assert (caught.value.model, caught.value.host) == ("m", fake_ollama.url)


async def test_an_address_without_a_server_is_named_as_such(fake_ollama, transport):
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")
    fake_ollama.refuse()

    with pytest.raises(OllamaConnectionError, match="Cannot reach Ollama at http://127"):
        await whole(model)


@pytest.mark.parametrize("url", ["http://gpu.invalid", "https://ollama.com"])
async def test_a_proxy_that_is_down_is_not_blamed_on_ollama(monkeypatch, url):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    with pytest.raises(OllamaConnectionError) as caught:
        await whole(OllamaModelProvider(base_url=url).get_model("m"))

    assert str(caught.value) == (
        f"Cannot reach {url}: connection refused (through the proxy that ALL_PROXY names). Check "
        "the proxy, or list the server in NO_PROXY to go without it."
    )


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy"])
async def test_a_connection_through_a_proxy_that_does_not_stand_in_time_names_its_variable(
    deaf_address, monkeypatch, name
):
    host, port = deaf_address
    monkeypatch.setenv(name, f"http://user:word@{host}:{port}")
    scheme = name.partition("_")[0].lower()
    provider = OllamaModelProvider(base_url=f"{scheme}://gpu.invalid", timeout={"connect": 0.1})

    with pytest.raises(OllamaTimeoutError) as caught:
        await whole(provider.get_model("m"))

    said = str(caught.value)
    assert f"within 0.1 s (through the proxy that {name} names). Check the proxy" in said
    assert "word" not in said
    assert str(port) not in said


async def test_an_unknown_host_is_named_as_such(transport):
    model = OllamaModelProvider(base_url="http://nowhere.invalid").get_model("m")

    with pytest.raises(OllamaConnectionError, match="Cannot reach Ollama at http://nowhere"):
        await whole(model)


async def test_an_endless_error_page_is_not_read_to_its_end(fake_ollama, transport):
    fake_ollama.fail(500, body=b"<p>error</p>" * 500_000)
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    with pytest.raises(OllamaStatusError, match="answered 500") as caught:
        await whole(model)

    assert len(str(caught.value)) < 2_000


async def test_an_error_page_that_breaks_off_is_an_error_of_the_tree(fake_ollama, transport):
    fake_ollama.fail(500, body=b"<p>error</p>" * 500, fault=Close(after_bytes=100))
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    with pytest.raises(OllamaConnectionError, match="broke"):
        await whole(model)


async def test_an_answer_without_end_is_left_and_says_what_limits_it(
    fake_ollama, transport, monkeypatch
):
    monkeypatch.setattr(limits, "LONGEST", 100_000)
    fake_ollama.reply(pieces=["x" * 1_000] * 1_000)
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    with pytest.raises(OllamaStreamError, match=r"sent more than .* max_tokens limits"):
        await whole(model)


# Metadata


async def test_metadata_is_json(fake_ollama, wire, transport):
    assert (await wire.ask("/api/version"))[0] == {"version": "0.33.0"}
    assert "capabilities" in (await wire.ask("/api/show", {"model": "m"}, {"x-mine": "1"}))[0]

    assert fake_ollama.requests[-1].headers["x-mine"] == "1"


async def test_metadata_that_is_no_json_is_an_error_of_the_tree(fake_ollama, wire, transport):
    fake_ollama.fail(200, body="<html>", path="/api/tags")

    with pytest.raises(OllamaStatusError, match="answered 200"):
        await wire.ask("/api/tags")


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/show"])
async def test_metadata_without_an_end_is_refused(fake_ollama, wire, transport, path, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_JSON", 1 << 20)
    fake_ollama.fail(200, body=b"[" + b" " * (4 << 20) + b"]", path=path)

    with pytest.raises(OllamaStreamError, match="an answer of more than 1 MiB"):
        await wire.ask(path, {"model": "m"} if path == "/api/show" else None)


async def test_metadata_that_is_nested_too_deep_is_an_error_of_the_tree(fake_ollama, wire):
    fake_ollama.fail(200, body="[" * 10_000 + "]" * 10_000, path="/api/tags")

    with pytest.raises(OllamaStatusError, match="answered 200"):
        await wire.ask("/api/tags")


async def test_an_error_about_metadata_names_the_model(fake_ollama, wire):
    fake_ollama.fail(404, "model 'm' not found", path="/api/show")

    with pytest.raises(OllamaStatusError, match="ollama pull m") as caught:
        await wire.ask("/api/show", {"model": "m"})

    assert caught.value.model == "m"


# Streams and loops


async def test_a_stream_that_was_never_read_closes_without_a_request(fake_ollama, wire):
    exchange = wire.chat({"model": "m"}, {}, "m")
    await exchange.aclose()
    await exchange.aclose()

    assert exchange.exchange.loop is None
    assert fake_ollama.requests == []


async def test_a_stream_ends_once_and_stays_ended(fake_ollama, wire):
    fake_ollama.reply("hi")
    exchange = wire.chat({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, {}, "m")

    body = b"".join([piece async for piece in exchange])

    assert body.endswith(b"}\n")
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(exchange))


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("by", ["its caller", "the end of the loop"])
def test_a_chat_that_is_cancelled_in_any_turn_of_the_loop_is_forgotten(fake_ollama, by, turns):
    fake_ollama.reply("hi", times=None)
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    async def main():
        asking = asyncio.create_task(whole(model))
        for _ in range(turns):
            await asyncio.sleep(0)
        if by == "its caller":
            asking.cancel()
            await asyncio.wait([asking])

    asyncio.run(main())

    assert not model._source._client.exchanges


async def test_an_answer_that_is_no_ollamas_says_where_it_came_from(fake_ollama, transport):
    fake_ollama.fail(200, body="<html>Sign in to the guest network</html>")
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    with pytest.raises(OllamaStreamError, match="Is base_url the root of an Ollama server"):
        await whole(model)


SCRIPT = """
import asyncio, gc, sys, warnings
from agents import Agent, Runner, set_tracing_disabled
from timestep import OllamaModelProvider

set_tracing_disabled(True)
agent = Agent("a", model=OllamaModelProvider(base_url=sys.argv[1]).get_model("m"))
warnings.simplefilter("always")
for _ in range(2):
    print(asyncio.run(Runner.run(agent, "Hi")).final_output)
gc.collect()
warnings.simplefilter("ignore", ResourceWarning)  # of run_sync's loop, which is never closed
for _ in range(2):
    print(Runner.run_sync(agent, "Hi").final_output)
"""


def test_a_script_that_closes_nothing_ends_without_a_word(fake_ollama):
    fake_ollama.reply("Hi!", times=4)

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, fake_ollama.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(Path(timestep.__file__).parent.parent)},
    )

    assert (done.stdout, done.stderr) == ("Hi!\n" * 4, "")
