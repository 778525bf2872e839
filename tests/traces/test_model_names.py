"""A trace names a model as the application did, whichever package sends the request."""

import sys
from types import ModuleType

import pytest
from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner
from openai import AsyncOpenAI

from timestep import MultiModelProvider, MultiModelProviderMap, OllamaModelProvider
from timestep.errors import TimestepError
from timestep.testing import FakeOllama, FakeOpenAI


@pytest.fixture
def server():
    with FakeOpenAI(strict=False) as server:
        yield server


@pytest.fixture
async def provider(server, monkeypatch):
    # LiteLLM is large and not installed here; a model of the SDK stands in for its adapter.
    adapter = ModuleType("agents.extensions.models.litellm_model")
    client = AsyncOpenAI(base_url=server.base_url, api_key="a-key-of-a-test")
    adapter.LitellmModel = lambda model, **_: OpenAIChatCompletionsModel(model, client)
    monkeypatch.setitem(sys.modules, adapter.__name__, adapter)
    key = {"base_url": server.base_url, "api_key": "a-key-of-a-test"}
    provider = MultiModelProvider.from_env(
        env_file=None,
        openai=key,
        providers={
            "own": {"kind": "openai", **key},
            "sdk": {"kind": "openai", "adapter": "sdk", **key},
            "responses": {"kind": "openai", "api": "responses", **key},
            "lite": {"kind": "litellm", "api_key": "a-key-of-a-test"},
            "printed": {"kind": "litellm", "api_key_command": ["echo", "a-key"]},
        },
        aliases={
            "quick": {"model": "responses/m", "settings": {"temperature": 0}},
            "chain": ["sdk/m", "own/m"],
        },
    )
    yield provider
    await provider.aclose()
    await client.close()


NAMES = {
    "own/m": "own/m",
    "sdk/m": "sdk/m",
    "responses/m": "responses/m",
    "m": "m",
    "openai/m": "openai/m",
    "lite/m": "lite/m",
    "printed/m": "printed/m",
    "quick": "responses/m",
    "chain": "sdk/m",
}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(("asked", "named"), NAMES.items())
async def test_a_recorded_call_has_the_prefix_of_its_model(
    provider, server, installed, asked, named, is_streamed
):
    server.reply("hello")
    agent, config = Agent(name="a", model=asked), RunConfig(model_provider=provider)

    if is_streamed:
        async for _ in Runner.run_streamed(agent, "hi", run_config=config).stream_events():
            pass
    else:
        await Runner.run(agent, "hi", run_config=config)

    installed.flush()
    [call] = installed.get("last").model_calls
    assert (call.name, call.model) == (named, named)
    assert server.requests[-1].json["model"] == "m"


@pytest.mark.parametrize("asked", ["own/m", "sdk/m", "responses/m", "lite/m"])
async def test_a_call_that_failed_has_the_prefix_too(provider, server, installed, asked):
    server.fail(400)

    with pytest.raises(TimestepError):
        await Runner.run(
            Agent(name="a", model=asked), "hi", run_config=RunConfig(model_provider=provider)
        )

    installed.flush()
    [call] = installed.get("last").model_calls
    assert (call.name, call.model) == (asked, asked)


async def test_two_names_of_one_model_keep_their_own(server, installed):
    server.reply("hello", times=None)
    key = {"base_url": server.base_url, "api_key": "a-key-of-a-test", "api": "chat_completions"}
    openai = MultiModelProvider.from_env(
        env_file=None, openai={**key, "settings": {"temperature": 0}}
    )
    with FakeOllama(strict=False) as ollama:
        ollama.reply("hello", times=None)
        shared, provider_map = OllamaModelProvider(base_url=ollama.url), MultiModelProviderMap()
        provider_map.add_provider("day", shared)
        provider_map.add_provider("night", shared)
        mapped = MultiModelProvider(provider_map=provider_map)
        asked = [(openai, "m"), (openai, "openai/m"), (mapped, "day/m"), (mapped, "night/m")]
        models = [provider.get_model(name) for provider, name in asked]

        for model in (*models, shared.get_model("m")):
            await Runner.run(Agent(name="a", model=model), "hi")

        await mapped.aclose()
    await openai.aclose()
    installed.flush()
    named = [installed.get(run.trace_id).model_calls[0].model for run in installed.traces()]
    assert sorted(named) == ["day/m", "m", "m", "night/m", "openai/m"]


@pytest.mark.parametrize("keeps_words", [True, False])
@pytest.mark.parametrize("asked", ["responses/gpt-4.1", "openai/gpt-4.1"])
async def test_a_call_of_the_responses_api_tells_its_server_and_is_not_priced_as_openai_s(
    provider, server, installed, asked, keeps_words
):
    server.reply("hello")
    config = RunConfig(model_provider=provider, trace_include_sensitive_data=keeps_words)

    await Runner.run(Agent(name="a", model=asked), "hi", run_config=config)

    installed.flush()
    [call] = installed.get("last").model_calls
    host = server.base_url.removesuffix("/v1")
    assert call.data["model_config"] == {"model_name": "gpt-4.1", "base_url": host}
    assert call.cost is None
