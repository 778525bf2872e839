"""Which names make a chain, and which chains and rules are refused."""

import pytest
from agents.testing import ScriptedModel

from tests.fallback.chains import chained, ollama
from timestep import (
    ConfigurationError,
    FallbackModel,
    FallbackRules,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModel,
    UnknownModelError,
)
from timestep.config.settings import load_settings
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.routing import chain


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", ["ollama/a"]),
        ("both", ["ollama/a", "gpt-4.1"]),
        ("nested", ["ollama/a", "gpt-4.1", "ollama/c"]),
        ("twice", ["gpt-4.1", "ollama/a"]),
        ("gpt-4.1", ["gpt-4.1"]),
        (None, ["ollama/a", "gpt-4.1", "ollama/d"]),
    ],
)
def test_a_list_stands_for_all_its_models_each_once(name, expected):
    aliases = {
        "one": "ollama/a",
        "both": ["one", "gpt-4.1"],
        "nested": ("both", "ollama/c", "one"),
        "twice": ["gpt-4.1", "both"],
    }

    assert chain(name, aliases, ["both", "ollama/d"]) == expected
    assert chain(None, aliases) == []


def test_a_list_of_one_is_no_chain(fake_ollama):
    provider = chained(None, a=ollama(fake_ollama))

    assert isinstance(provider.get_model(None), OllamaModel)


@pytest.mark.parametrize("default", [[], [""], ["ollama/a", " "]])
def test_an_empty_name_in_a_default_list_is_refused(default):
    with pytest.raises(ConfigurationError, match=r"default_model: .* (empty|at least 1)"):
        MultiModelProvider(default_model=default)


@pytest.mark.parametrize("asked", ["smart", None])
@pytest.mark.parametrize(
    ("later", "error", "next_step"),
    [
        ("grok/b", UnknownModelError, "Add [providers.grok] to the settings"),
        ("ollama/", UnknownModelError, "write one such as"),
        ("gpt-4.1", ConfigurationError, "set OPENAI_API_KEY"),
        ("keyless/gpt-4.1", ConfigurationError, "api_key in the provider's table"),
    ],
)
def test_a_chain_is_refused_when_it_is_asked_for_though_only_a_later_model_is_wrong(
    asked, later, error, next_step
):
    provider_map = MultiModelProviderMap()
    provider_map.add_provider(
        "keyless", OpenAICompatibleProvider(OpenAIEndpoint("https://api.openai.com/v1"))
    )
    provider = MultiModelProvider(
        provider_map=provider_map,
        aliases={"smart": ["ollama/a", later]},
        default_model=["ollama/a", later],
    )

    with pytest.raises(error) as caught:
        provider.get_model(asked)

    name = "default_model" if asked is None else "'smart'"
    assert str(caught.value).startswith(f"The chain {name} cannot ask {later!r}: ")
    assert next_step in str(caught.value)
    assert getattr(caught.value, "prefix", None) == getattr(caught.value.__cause__, "prefix", None)


def test_an_empty_chain_is_refused():
    with pytest.raises(ConfigurationError, match="chain of models is empty"):
        FallbackModel({})


WRONG_RULES = [
    ({"on": ["wrong"]}, "unknown reason; known are"),
    ({"on": ["busy", 1, []]}, "unknown reason; known are"),
    ({"on": [[]]}, "unknown reason; known are"),
    ({"on": "connection"}, r"write a list, as in \['connection'\]"),
    ({"on": None}, "write a list"),
    ({"on": b"busy"}, "write a list"),
    ({"attempts": 0}, "attempts"),
    ({"attempts": 1.5}, "attempts"),
    ({"attempts": True}, "attempts"),
    ({"attempts": "2"}, "attempts"),
    ({"cool_down": -1}, "cool_down"),
    ({"cool_down": "30"}, "cool_down"),
    ({"cool_down": True}, "cool_down"),
    ({"cool_down": None}, "cool_down"),
    ({"cool_down": float("nan")}, "cool_down"),
    ({"cool_down": float("inf")}, "cool_down"),
    ({"cool_down": 10**400}, "cool_down"),
    ({"cool_down": 10**5000}, "cool_down"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG_RULES, ids=range(len(WRONG_RULES)))
def test_rules_that_cannot_be_used_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        FallbackRules(**wrong)


def test_rules_keep_what_they_were_built_from():
    on = ["busy"]
    rules = FallbackRules(on=on)

    on.clear()

    assert rules.on == ("busy",)
    assert hash(rules) == hash(FallbackRules(on=["busy"]))


@pytest.mark.parametrize(
    ("models", "rules", "words"),
    [
        ({"a": None}, None, "'a' is NoneType, not an agents.Model"),
        ({1: ScriptedModel([])}, None, "name 1 is not a string"),
        (["a", "b"], None, "is list"),
        (None, None, "is NoneType"),
        ({"a": ScriptedModel([])}, {"on": ["busy"]}, r"rules .* dict; write FallbackRules"),
    ],
)
def test_a_chain_that_cannot_be_used_is_refused_when_it_is_built(models, rules, words):
    with pytest.raises(ConfigurationError, match=words):
        FallbackModel(models, rules)


def test_the_settings_say_when_a_chain_goes_on(monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", '["ollama/a", "ollama/b"]')
    monkeypatch.setenv("TIMESTEP_FALLBACK__ON", '["busy", "authentication"]')
    monkeypatch.setenv("TIMESTEP_FALLBACK__ATTEMPTS", "2")
    monkeypatch.setenv("TIMESTEP_FALLBACK__COOL_DOWN", "7.5")

    model = MultiModelProvider.from_env().get_model(None)

    assert isinstance(model, FallbackModel)
    assert list(model.models) == ["ollama/a", "ollama/b"]
    assert model.rules == FallbackRules(on=["busy", "authentication"], attempts=2, cool_down=7.5)


def test_the_settings_and_the_code_have_the_same_defaults():
    settings = load_settings(environment={}).fallback

    assert settings == FallbackRules()


@pytest.mark.parametrize("seconds", ["1e10", "inf", "-1"])
def test_a_cool_down_that_rules_refuse_is_refused_in_the_settings_too(seconds):
    with pytest.raises(ConfigurationError, match=r"fallback\.cool_down"):
        load_settings(environment={"TIMESTEP_FALLBACK__COOL_DOWN": seconds})


def test_an_unknown_reason_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"fallback\.on"):
        load_settings(environment={"TIMESTEP_FALLBACK__ON": '["sunspots"]'})
