"""Pulling: progress as it comes, and success only when the server says so."""

import json
from contextlib import aclosing

import pytest

from timestep.errors import (
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaError,
    OllamaStreamError,
)
from timestep.ollama import lines as ollama_lines
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.pull import Progress, pull
from timestep.ollama.wire import Wire
from timestep.testing import Stall


async def collect(fake, name="llama3.2"):
    wire = Wire(Endpoint(fake.url))
    try:
        async with aclosing(pull(wire, name)) as progress:
            return [step async for step in progress]
    finally:
        await wire.aclose()


def lines(*documents):
    return "".join(json.dumps(document) + "\n" for document in documents)


async def test_a_pull_yields_every_step(fake_ollama):
    steps = await collect(fake_ollama)

    assert [step.status for step in steps[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert steps[0] == Progress("pulling manifest")
    layer = steps[2]
    assert layer.digest.startswith("sha256:")
    assert (steps[1].completed, layer.completed) == (0, layer.total // 2)
    assert fake_ollama.requests[0].json == {"model": "llama3.2"}


async def test_a_last_line_without_its_newline_counts(fake_ollama):
    fake_ollama.fail(200, body='\n{"status":"success"}', path="/api/pull")

    assert await collect(fake_ollama) == [Progress("success")]


async def test_odd_values_of_a_step_are_left_out(fake_ollama):
    odd = {"status": "pulling", "digest": ["x"], "total": "big", "completed": float("nan")}
    fake_ollama.fail(200, body=lines(odd, {"status": "success"}), path="/api/pull")

    assert await collect(fake_ollama) == [Progress("pulling"), Progress("success")]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lines({"status": "pulling manifest"}), "early, at 'pulling manifest'"),
        ("", "early, at ''"),
        (lines({"status": "x"}, {"error": "disk full"}), "could not pull 'llama3.2': disk full"),
        ("<html>\n", "is no progress: '<html>'"),
        ("[]\n", "is no progress"),
        ("[" * 10_000 + "]" * 10_000, "is no progress"),
    ],
)
async def test_what_is_no_success_is_an_error(fake_ollama, body, words):
    fake_ollama.fail(200, body=body, path="/api/pull")

    with pytest.raises(OllamaError) as caught:
        await collect(fake_ollama)

    assert words in str(caught.value)


async def test_a_line_without_an_end_is_refused(fake_ollama, monkeypatch):
    monkeypatch.setattr(ollama_lines, "LONGEST", 1 << 20)
    fake_ollama.fail(200, body="x" * (4 << 20), path="/api/pull")

    with pytest.raises(OllamaStreamError, match="a line of more than 1 MiB"):
        await collect(fake_ollama)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_model_that_no_registry_has_is_not_found(fake_ollama, status):
    body = lines({"error": "pull model manifest: file does not exist"})
    fake_ollama.fail(status, body=body, path="/api/pull")

    with pytest.raises(ModelNotFoundError, match="No registry has 'llama9'"):
        await collect(fake_ollama, "llama9")


async def test_another_status_is_told_in_the_server_s_words(fake_ollama):
    fake_ollama.fail(500, "no space left", path="/api/pull")

    with pytest.raises(OllamaError, match="answered 500: no space left"):
        await collect(fake_ollama)


async def test_a_server_that_is_not_there_is_a_connection_error(fake_ollama):
    fake_ollama.refuse()

    with pytest.raises(OllamaConnectionError, match="ollama serve"):
        await collect(fake_ollama)


async def test_closing_the_pull_hangs_up(fake_ollama):
    body = lines({"status": "pulling manifest"})
    fake_ollama.fail(200, body=body, path="/api/pull", fault=Stall(after=1))
    wire = Wire(Endpoint(fake_ollama.url))
    async with aclosing(pull(wire, "llama3.2")) as progress:
        assert (await anext(progress)).status == "pulling manifest"

    await fake_ollama.disconnected()
    await wire.aclose()
