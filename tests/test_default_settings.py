"""Default settings of a provider's models, from settings and in code."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, RunConfig
from openai import AsyncOpenAI
from openai.types.shared import Reasoning

from timestep.answer.default_settings import ModelDefaults
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError
from timestep.ollama.model import OllamaModel
from timestep.ollama.provider import OllamaModelProvider
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


OLLAMA = """
[ollama]
base_url = "{url}"
options = {{ temperature = 0.1, top_k = 5 }}
settings = {{ temperature = 0.2, top_p = 0.5, reasoning = {{ effort = "high" }} }}
models.m = {{ num_ctx = 4096, settings = {{ temperature = 0.3 }} }}
[providers.lab]
kind = "ollama"
base_url = "{url}"
settings = {{ temperature = 0.2, top_p = 0.5, reasoning = {{ effort = "high" }} }}
models.m = {{ settings = {{ temperature = 0.3 }} }}
"""


def ollama_from_file(url):
    Path("timestep.toml").write_text(OLLAMA.format(url=url))
    return MultiModelProvider.from_env()


def ollama_in_code(url):
    every = ModelSettings(temperature=0.2, top_p=0.5, reasoning=Reasoning(effort="high"))
    defaults = ModelDefaults(every, {"m": ModelSettings(temperature=0.3)})
    provider_map = MultiModelProviderMap()
    for prefix in ("ollama", "lab"):
        provider_map.add_provider(prefix, OllamaModelProvider(base_url=url, defaults=defaults))
    return MultiModelProvider(provider_map=provider_map)


@pytest.mark.parametrize("make", [ollama_from_file, ollama_in_code])
@pytest.mark.parametrize("prefix", ["ollama/", "lab/"])
@pytest.mark.parametrize(
    ("name", "own", "temperature"), [("n", None, 0.2), ("m", None, 0.3), ("m", 0.9, 0.9)]
)
async def test_ollama_models_have_defaults_too(
    make, prefix, name, own, temperature, fake_ollama, run
):
    fake_ollama.add_model(name, capabilities=["completion", "thinking"])
    fake_ollama.reply("ok")
    provider = make(fake_ollama.base_url)
    model = provider.get_model(prefix + name)
    agent = Agent(name="a", model=model, model_settings=ModelSettings(temperature=own))
    await run(agent, run_config=RunConfig(tracing_disabled=True))
    await provider.aclose()

    assert isinstance(model, OllamaModel)
    body = fake_ollama.chats[-1]
    options = body["options"]
    assert (options["temperature"], options["top_p"], body["think"]) == (temperature, 0.5, "high")


DEFAULTS = """
default_model = "{default}"
[aliases.careful]
model = "ollama/m"
settings = {{ reasoning = {{ effort = "high" }} }}
[openai]
base_url = "{openai}"
api_key = "k"
api = "{api}"
[providers.lab]
kind = "openai"
base_url = "{openai}"
api = "{api}"
[providers.set]
kind = "openai"
base_url = "{openai}"
api = "{api}"
settings = {{ reasoning = {{ effort = "high" }}, verbosity = "high" }}
[ollama]
base_url = "{ollama}"
[ollama.models.n]
settings = {{ reasoning = {{ effort = "high" }} }}
"""


def asked_in_words(body):
    """The effort and the verbosity that *body*, of any wire, asks for."""
    effort = body.get("think", body.get("reasoning_effort"))
    effort = effort or (body.get("reasoning") or {}).get("effort")
    return effort, body.get("verbosity") or (body.get("text") or {}).get("verbosity")


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
@pytest.mark.parametrize(
    ("default", "sent"),
    [
        ("careful", ("high", None)),
        ("ollama/n", ("high", None)),
        ("ollama/m", (None, None)),
        ("set/m", ("high", "high")),
        ("lab/m", (None, None)),
        ("gpt-4.1", (None, None)),
        ("openai/gpt-4.1", (None, None)),
        ("gpt-5", ("low", "low")),
        ("gpt-5.1", ("none", "low")),
    ],
)
async def test_an_agent_without_a_model_is_asked_with_the_settings_of_the_default_model(
    default, sent, api, openai_server, fake_ollama, run
):
    """The SDK gives it the settings of OpenAI's own default model, whatever ours is."""
    for name in ("m", "n"):
        fake_ollama.add_model(name, capabilities=["completion", "thinking"])
    fake_ollama.strict = False
    fake_ollama.reply("ok")
    Path("timestep.toml").write_text(  # noqa: ASYNC240 - nothing else runs
        DEFAULTS.format(
            default=default, api=api, openai=openai_server.base_url, ollama=fake_ollama.url
        )
    )
    provider = MultiModelProvider.from_env()
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    await run(Agent(name="a"), run_config=config)
    await provider.aclose()

    bodies = [body for _, _, body in openai_server.requests] or fake_ollama.chats
    assert asked_in_words(bodies[-1]) == sent


async def test_a_chain_for_agents_without_a_model_is_asked_with_settings_of_its_own(
    openai_server, fake_ollama, run
):
    text = DEFAULTS.format(
        default="lab/m",
        api="chat_completions",
        openai=openai_server.base_url,
        ollama=fake_ollama.url,
    )
    text = text.replace('"lab/m"', '["lab/m", "ollama/m"]')
    Path("timestep.toml").write_text(text)  # noqa: ASYNC240 - nothing else runs
    provider = MultiModelProvider.from_env()
    await run(Agent(name="a"), run_config=RunConfig(model_provider=provider, tracing_disabled=True))
    await provider.aclose()

    assert asked_in_words(openai_server.requests[-1][2]) == (None, None)


def test_options_and_settings_of_a_model_stand_in_one_table():
    settings = Settings(
        ollama={"models": {"m": {"num_ctx": 4096, "settings": {"temperature": 0.3}}}}
    )

    assert settings.ollama.options_by_model == {"m": {"num_ctx": 4096}}
    assert settings.ollama.settings_by_model == {"m": {"temperature": 0.3}}


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
        (
            {"temprature": 1},
            "openai.settings.temprature .*: unknown setting; did you mean temperature",
        ),
        ({"extra_headers": {"X-A": "b"}}, "openai.settings.extra_headers.*: write them as headers"),
        ({"temperature": "hot"}, "openai.settings.temperature.*: "),
        ({"temperature": float("nan")}, "openai.settings.temperature.*: holds nan"),
        ({"extra_body": {"a": [float("inf")]}}, "openai.settings.extra_body.*: holds nan or inf"),
        ({"retry": {"max_retries": 1}}, "openai.settings.retry.*: .*of an agent"),
        ({"tool_choice": "required"}, "openai.settings.tool_choice.*: .*of an agent"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        MultiModelProvider.from_env(openai={"settings": settings})


TOLD = {
    "in a file": (
        "[ollama.settings]\ntop_p = 0.5\ntemprature = 1\n",
        {},
        "ollama.settings.temprature (timestep.toml:3): unknown setting; did you mean temperature?",
    ),
    "of a model with a dot": (
        '[ollama.models."qwen2.5".settings]\ntemperature = "hot"\n',
        {},
        'ollama.models."qwen2.5".settings.temperature (timestep.toml:2): Input should be',
    ),
    "of an alias": (
        '[aliases.a]\nmodel = "ollama/m"\nsettings = { top_p = "x" }\n',
        {},
        "aliases.a.settings.top_p (timestep.toml:3): Input should be",
    ),
    "a table": (
        '[ollama.settings]\nextra_headers = { x = "y" }\n',
        {},
        "ollama.settings.extra_headers (timestep.toml:2): write them as headers",
    ),
    "below another": (
        "",
        {"TIMESTEP_OPENAI__SETTINGS__REASONING__EFFORT": "huge"},
        (
            "openai.settings.reasoning.effort (environment variable "
            "TIMESTEP_OPENAI__SETTINGS__REASONING__EFFORT): Input should be"
        ),
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_setting_that_cannot_be_used_is_named_where_it_is_written(name, monkeypatch):
    text, variables, words = TOLD[name]
    Path("timestep.toml").write_text(text)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        MultiModelProvider.from_env()

    assert words in str(caught.value)


@pytest.mark.parametrize("settings", [3, {"temprature": 1}], ids=str)
def test_a_wrong_setting_of_an_ollama_model_is_named(settings):
    with pytest.raises(ConfigurationError, match=r"ollama\.models\.m\.settings"):
        MultiModelProvider.from_env(ollama={"models": {"m": {"settings": settings}}})


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
