"""Settings of the gateways, as a server behind one sees them.

LiteLLM is large and not installed here; the SDK's model stands in for the SDK's adapter of it.
"""

import contextlib
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, RunConfig
from openai import AsyncOpenAI, RateLimitError

from tests.test_leaks import KEY, ask, walked
from timestep.config.settings import Settings
from timestep.net.secrets import masker
from timestep.openai.wire_errors import mask_error
from timestep.registry import MultiModelProvider

COUNTING = """
import pathlib
runs = pathlib.Path("runs")
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
print(f"key-{len(runs.read_text())}")
"""


class StandIn(OpenAIChatCompletionsModel):
    """Takes what the SDK's adapter takes, and sends ``api_version`` as Azure wants it."""

    def __init__(self, model, base_url=None, api_key=None):
        self._opened = AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0)
        super().__init__(model, self._opened)

    async def _fetch_response(self, instructions, items, settings, *others, **more):
        version = (settings.extra_args or {}).get("api_version")
        settings.extra_args = None
        if version:
            settings.extra_query = {"api-version": version}
        return await super()._fetch_response(instructions, items, settings, *others, **more)

    async def close(self):
        await self._opened.close()


@pytest.fixture(autouse=True)
def litellm(monkeypatch):
    adapter = ModuleType("agents.extensions.models.litellm_model")
    adapter.LitellmModel = StandIn
    monkeypatch.setitem(sys.modules, adapter.__name__, adapter)


def model_of(url, **table):
    table = {"kind": "litellm", "base_url": url, **table}
    settings = Settings(_env_file=None, providers={"lite": table})
    return MultiModelProvider.from_settings(settings).get_model("lite/m")


async def asked(run, model, **settings):
    agent = Agent(name="a", model=model, model_settings=ModelSettings(**settings))
    return await run(agent, run_config=RunConfig(tracing_disabled=True))


async def test_headers_and_the_version_of_the_api_are_sent(openai_server, run):
    model = model_of(
        openai_server.base_url,
        api_key="k",
        headers={"X-Team": "blue", "X-Title": "app"},
        api_version="2024-10-21",
        settings={"temperature": 0.2},
    )
    await asked(run, model, extra_headers={"X-Title": "own"})
    await model.close()

    path, headers, body = openai_server.requests[-1]
    assert path.endswith("/chat/completions?api-version=2024-10-21")
    assert (headers["x-team"], headers["x-title"]) == ("blue", "own")
    assert body["temperature"] == 0.2


async def test_a_command_prints_the_key_once_and_again_when_it_is_refused(openai_server, run):
    def only_the_second(_):
        is_good = openai_server.requests[-1][1]["authorization"] == "Bearer key-2"
        return None if is_good else (401, {"error": {"message": "no key of ours"}})

    openai_server.answers = only_the_second
    command = [sys.executable, "-c", COUNTING]
    model = model_of(openai_server.base_url, api_key_command=command)
    assert not Path("runs").exists()  # noqa: ASYNC240 - nothing else runs
    for _ in range(2):
        await asked(run, model)
    await model.close()

    keys = [headers["authorization"] for _, headers, _ in openai_server.requests]
    assert keys == ["Bearer key-1", "Bearer key-2", "Bearer key-2"]


async def test_another_failure_or_a_second_refusal_is_raised(openai_server, run):
    command = [sys.executable, "-c", COUNTING]
    model = model_of(openai_server.base_url, api_key_command=command)
    for status, requests in ((403, 1), (401, 3)):
        openai_server.answers = lambda _, status=status: (status, {"error": {"message": "no"}})
        with pytest.raises(Exception, match=str(status)):
            await asked(run, model)
        assert len(openai_server.requests) == requests
    await model.close()


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("table", [{}, {"headers": {"X-Key": KEY}}])
async def test_no_key_is_in_a_variable_of_a_frame_of_ours(table, is_streamed, openai_server):
    openai_server.answers = lambda _: (500, {"error": {"message": "no"}})
    command = [sys.executable, "-c", f"print({KEY!r})"]
    model = model_of(openai_server.base_url, api_key_command=command, **table)
    agent = Agent("a", model=model)
    with pytest.raises(Exception, match="500") as caught:
        await ask(agent, "hi", is_streamed=is_streamed)
    await model.close()

    shown = [text for where, text in walked(caught.value) if "gateways.py" in where]
    assert shown
    assert not any(KEY in text for text in shown)


@pytest.mark.parametrize("key", [{"api_key": "k"}, {"headers": {"Authorization": "Bearer k"}}])
def test_a_key_does_not_travel_in_the_clear(key):
    with pytest.raises(ValueError, match="https"):
        model_of("http://gpu.example/v1", **key)


class GatewayError(RateLimitError):
    """As LiteLLM's: of its own package, a class of openai's, with texts in many places."""

    __module__ = "litellm.exceptions"


def failing(key):
    said = f"no quota for {key}"
    request = httpx.Request("POST", f"https://h/{key}", headers={"Authorization": f"Bearer {key}"})
    response = httpx.Response(429, headers={"X-Key": key}, text=said, request=request)
    error = GatewayError(said, response=response, body={"error": {"message": said, key: [said]}})
    error.llm_provider, error.litellm_debug_info = "openai", said
    error.add_note(said)
    error.__cause__ = RuntimeError(said)
    error.__cause__.__context__ = ValueError(said)
    return error


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    "table",
    [
        {"api_key": KEY},
        {"headers": {"X-Key": KEY}},
        {"api_key_command": [sys.executable, "-c", f"print({KEY!r})"]},
    ],
    ids=["key", "header", "command"],
)
async def test_a_key_that_a_gateway_s_error_repeats_is_hidden(table, is_streamed, monkeypatch):
    async def fetch(*_, **__):
        raise failing(KEY)

    monkeypatch.setattr(StandIn, "_fetch_response", fetch)
    model = model_of("http://127.0.0.1:9/v1", **{"api_key": "k", **table})
    with pytest.raises(RateLimitError) as caught:
        await ask(Agent("a", model=model), "hi", is_streamed=is_streamed)
    await model.close()

    error = caught.value
    assert (type(error), str(error), error.status_code) == (GatewayError, "no quota for ***", 429)
    assert error.body == {"error": {"message": "no quota for ***", "***": ["no quota for ***"]}}
    assert error.response.headers["x-key"] == "***"
    told = [str(vars(each)) + repr(each) for each in (error, error.__cause__)]
    told += [str(error.response.text), str(error.request.url), str(error.request.headers)]
    assert not [text for text in told if KEY in text]
    assert not [where for where, text in walked(error) if KEY in text and "test_" not in where]


class HeldError(Exception):
    """As any-llm's: the error of a vendor is an attribute of it."""


def held(value):
    error = HeldError("held")
    error.held = value
    return error


def cyclic():
    first, second = HeldError(KEY), HeldError(KEY)
    first.__cause__, second.__cause__ = second, first
    values = [KEY]
    values.append(values)
    first.held = values
    return first


class Shows:
    def __repr__(self):
        return f"Shows({KEY})"


class CannotBeShown:
    def __repr__(self):
        raise ValueError(KEY)


def refusal():
    request = httpx.Request("POST", f"https://h/{KEY}")
    headers = [(b"X-Key", b"\xff" + KEY.encode()), (b"x", b"Z\xfc")]
    return httpx.Response(429, headers=headers, request=request)


@pytest.mark.parametrize(
    "error",
    [
        held(HeldError(KEY)),
        held([{1: HeldError(KEY), None: KEY}]),
        held(f"the key {KEY}".encode()),
        held((KEY, {KEY})),
        held(refusal()),
        held([refusal()]),
        held(Shows()),
        held(CannotBeShown()),
        HeldError(HeldError(KEY)),
        HeldError({1: KEY}),
        ExceptionGroup("group", [HeldError(KEY)]),
        cyclic(),
    ],
)
def test_a_key_is_hidden_wherever_an_error_holds_it_and_the_error_stays(error):
    mask_error(error, masker([KEY]))

    for each in (error, getattr(error, "held", None), error.__cause__, *error.args):
        with contextlib.suppress(ValueError):
            assert KEY not in f"{each!s} {each!r} {getattr(each, 'headers', '')!r}"
    assert not [where for where, text in walked(error) if KEY in text]


def test_what_shows_no_key_is_left_in_an_error_as_it_is():
    kept = object()
    error = held([kept, 5, None, True])
    mask_error(error, masker([KEY]))

    assert error.held == [kept, 5, None, True]
