"""Default settings of a provider's models, from settings and in code."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, RunConfig
from openai import AsyncOpenAI

from timestep.answer.defaults import ModelDefaults
from timestep.errors import ConfigurationError
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.registry import MultiModelProvider, MultiModelProviderMap


def from_file(url, api):
    Path("timestep.toml").write_text(
        f"""
        [openai]
        base_url = "{url}"
        api_key = "k"
        api = "{api}"
        settings = {{ temperature = 0.2, top_p = 0.5 }}
        models.m = {{ temperature = 0.3 }}
        [providers.other]
        kind = "openai"
        base_url = "{url}"
        api = "{api}"
        settings = {{ temperature = 0.2, top_p = 0.5 }}
        models.m = {{ temperature = 0.3 }}
        """
    )
    return MultiModelProvider.from_env()


def in_code(url, api):
    defaults = ModelDefaults(
        ModelSettings(temperature=0.2, top_p=0.5), {"m": ModelSettings(temperature=0.3)}
    )
    other = OpenAICompatibleProvider(
        OpenAIEndpoint(url), use_responses=api == "responses", defaults=defaults
    )
    provider_map = MultiModelProviderMap()
    provider_map.add_provider("other", other)
    return MultiModelProvider(provider_map=provider_map, openai_provider=other)


@pytest.mark.parametrize("make", [from_file, in_code])
@pytest.mark.parametrize("api", ["responses", "chat_completions"])
@pytest.mark.parametrize("prefix", ["", "other/"])
@pytest.mark.parametrize(
    ("name", "own", "temperature"), [("n", None, 0.2), ("m", None, 0.3), ("m", 0.9, 0.9)]
)
async def test_a_call_wins_over_its_model_and_a_model_over_its_provider(
    make, api, prefix, name, own, temperature, openai_server, run
):
    provider = make(openai_server.base_url, api)
    settings = ModelSettings(temperature=own)
    agent = Agent(name="a", model=prefix + name, model_settings=settings)
    await run(agent, run_config=RunConfig(model_provider=provider, tracing_disabled=True))
    await provider.aclose()

    body = openai_server.requests[-1][2]
    assert (body["temperature"], body["top_p"]) == (temperature, 0.5)


def test_nested_settings_are_read(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    Path("timestep.toml").write_text(
        '[openai.settings]\nreasoning = { effort = "low" }\ntruncation = "auto"\n'
    )
    settings = MultiModelProvider.from_env().get_model("m").settings

    assert (settings.reasoning.effort, settings.truncation) == ("low", "auto")


def test_variables_set_defaults_too(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("TIMESTEP_OPENAI__SETTINGS__TEMPERATURE", "0.4")

    assert MultiModelProvider.from_env().get_model("m").settings.temperature == 0.4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temprature": 1}, "openai.settings.temprature: unknown setting"),
        ({"extra_headers": {"X-A": "b"}}, "openai.settings.extra_headers: write them as headers"),
        ({"temperature": "hot"}, "openai.settings.temperature: "),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        MultiModelProvider.from_env(openai={"settings": settings})


@pytest.mark.parametrize(
    ("name", "own", "temperature"), [("n", None, 0.2), ("m", None, 0.3), ("m", 0.9, 0.9)]
)
async def test_a_gateway_sends_its_defaults_too(
    name, own, temperature, openai_server, run, monkeypatch
):
    # LiteLLM is large and not installed here; a model of the SDK stands in for its adapter.
    adapter = ModuleType("agents.extensions.models.litellm_model")
    client = AsyncOpenAI(base_url=openai_server.base_url, api_key="k")
    adapter.LitellmModel = lambda model, **_: OpenAIChatCompletionsModel(model, client)
    monkeypatch.setitem(sys.modules, adapter.__name__, adapter)
    table = {
        "kind": "litellm",
        "base_url": openai_server.base_url,
        "api_key": "k",
        "settings": {"temperature": 0.2, "top_p": 0.5},
        "models": {"openai/m": {"temperature": 0.3}},
    }
    provider = MultiModelProvider.from_env(providers={"lite": table})
    settings = ModelSettings(temperature=own)
    agent = Agent(name="a", model=f"lite/openai/{name}", model_settings=settings)
    await run(agent, run_config=RunConfig(model_provider=provider, tracing_disabled=True))
    await provider.aclose()
    await client.close()

    body = openai_server.requests[-1][2]
    assert (body["temperature"], body["top_p"]) == (temperature, 0.5)
