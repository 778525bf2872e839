"""Aliases that are tables: a name for a model with its settings."""

from pathlib import Path

import pytest
from agents import Agent, ModelSettings, RunConfig

from timestep.answer.default_settings import ModelDefaults
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.registry import MultiModelProvider, MultiModelProviderMap


def from_file(url):
    Path("timestep.toml").write_text(
        f"""
        default_model = "outer"
        [providers.lab]
        kind = "openai"
        base_url = "{url}"
        settings = {{ temperature = 0.1, top_p = 0.1, max_tokens = 10 }}
        [aliases]
        outer = {{ model = "inner", settings = {{ temperature = 0.3 }} }}
        several = ["inner", "lab/b"]
        [aliases.inner]
        model = ["lab/a"]
        settings = {{ temperature = 0.2, top_p = 0.2 }}
        """
    )
    return MultiModelProvider.from_env()


def in_code(url):
    lab = OpenAICompatibleProvider(
        OpenAIEndpoint(url),
        use_responses=True,
        defaults=ModelDefaults(ModelSettings(temperature=0.1, top_p=0.1, max_tokens=10)),
    )
    provider_map = MultiModelProviderMap()
    provider_map.add_provider("lab", lab)
    inner = {"model": ["lab/a"], "settings": ModelSettings(temperature=0.2, top_p=0.2)}
    return MultiModelProvider(
        provider_map=provider_map,
        default_model="outer",
        aliases={
            "outer": {"model": "inner", "settings": {"temperature": 0.3}},
            "several": ["inner", "lab/b"],
            "inner": inner,
        },
    )


@pytest.mark.parametrize("make", [from_file, in_code])
@pytest.mark.parametrize(
    ("name", "own", "sent"),
    [
        ("lab/a", None, (0.1, 0.1)),
        ("inner", None, (0.2, 0.2)),
        ("several", None, (0.2, 0.2)),
        ("outer", None, (0.3, 0.2)),
        ("outer", 0.9, (0.9, 0.2)),
        (None, None, (0.3, 0.2)),
    ],
)
async def test_a_call_wins_over_an_alias_and_an_alias_over_what_it_names(
    make, name, own, sent, openai_server, run
):
    provider = make(openai_server.base_url)
    agent = Agent(name="a", model=name, model_settings=ModelSettings(temperature=own))
    await run(agent, run_config=RunConfig(model_provider=provider, tracing_disabled=True))
    await provider.aclose()

    body = openai_server.requests[-1][2]
    assert (body["model"], body["temperature"], body["top_p"]) == ("a", *sent)


def test_the_next_model_of_a_chain_has_its_own_settings(openai_server):
    chain = in_code(openai_server.base_url).get_model("several").models

    assert [model.settings.temperature for model in chain.values()] == [0.2, 0.1]


def test_variables_write_an_alias_with_settings(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("TIMESTEP_ALIASES__MY_SMART__MODEL", "gpt-5")
    monkeypatch.setenv("TIMESTEP_ALIASES__MY_SMART__SETTINGS__REASONING", '{"effort": "high"}')

    model = MultiModelProvider.from_env().get_model("my-smart")
    assert (model.model, model.settings.reasoning.effort) == ("gpt-5", "high")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"model": "m", "settings": {"temprature": 1}}, "temprature.*: unknown setting"),
        ({"model": "m", "setings": {}}, "setings|key model"),
        ({"settings": {"temperature": 1}}, "aliases.x.model|key model"),
        ({"model": ""}, "it is empty; name a model"),
        ({"model": "x"}, "the aliases form a ring: x -> x"),
        ({"model": "m", "settings": 3}, "settings"),
    ],
)
@pytest.mark.parametrize("make", [MultiModelProvider, MultiModelProvider.from_env])
def test_a_table_that_cannot_be_used_is_refused(make, table, words):
    with pytest.raises(ConfigurationError, match=words):
        make(aliases={"x": table})


def test_settings_stay_out_of_the_targets():
    settings = Settings(aliases={"x": {"model": ["m", "n"], "settings": {"top_p": 1}}, "y": "x"})

    assert settings.targets == {"x": ["m", "n"], "y": "x"}
    assert settings.models_of("y") == ["m", "n"]
