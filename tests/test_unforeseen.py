"""Whatever is raised while a connection is made is an error that names it, on every wire."""

import asyncio
import ssl

import pytest
from agents import Agent, RunConfig

from timestep import MultiModelProvider, Settings
from timestep.errors import OllamaConnectionError


class Odd(BaseException):
    """What is no `Exception`."""


class SpeechlessError(Exception):
    def __str__(self):
        raise ValueError


RAISED = {
    "ImportError": (ImportError("x", name="odd_package"), "the package odd_package"),
    "RecursionError": (RecursionError("x"), "RecursionError was raised"),
    "MemoryError": (MemoryError(), "MemoryError was raised"),
    "RuntimeError": (RuntimeError("x"), "RuntimeError was raised"),
    "AttributeError": (AttributeError("x"), "AttributeError was raised"),
    "a group": (ExceptionGroup("x", [LookupError("x")]), "ExceptionGroup was raised"),
    "an unknown class": (SpeechlessError(), "SpeechlessError was raised"),
    "TLS without a reason": (ssl.SSLError(1, "x"), "it does not speak TLS as expected"),
}
OWNED = {
    "ollama": {"kind": "ollama"},
    "chat completions": {"kind": "openai", "max_retries": 0},
}
WIRES = {
    **OWNED,
    "responses": {"kind": "openai", "max_retries": 0, "api": "responses"},
    "the SDK's model": {"kind": "openai", "max_retries": 0, "adapter": "sdk"},
}


async def failure(run, table, raised, monkeypatch):
    """The error of a call of a model of *table*, when making its connection raises *raised*."""

    async def fail(*_, **__):
        raise raised

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", fail)
    monkeypatch.setattr(loop, "create_connection", fail)
    lab = {**table, "base_url": "http://localhost:9"}
    provider = MultiModelProvider.from_settings(Settings(providers={"lab": lab}))
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    with pytest.raises(OllamaConnectionError) as caught:
        await asyncio.wait_for(run(Agent("a", model="lab/m"), run_config=config), 60)
    await provider.aclose()
    return caught.value


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("raised", "words"), RAISED.values(), ids=RAISED)
async def test_an_error_that_is_not_foreseen_names_itself(run, raised, words, wire, monkeypatch):
    error = await failure(run, WIRES[wire], raised, monkeypatch)

    assert words in str(error)
    assert error.__cause__ is not None


@pytest.mark.parametrize("wire", OWNED)
@pytest.mark.parametrize(
    "raised", [Odd("x"), GeneratorExit(), BaseExceptionGroup("x", [Odd()])], ids=repr
)
async def test_what_is_no_exception_ends_the_task_of_an_exchange_alike(
    run, raised, wire, monkeypatch
):
    error = await failure(run, OWNED[wire], raised, monkeypatch)

    assert f"{type(raised).__name__} was raised" in str(error)
