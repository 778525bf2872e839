"""A secret is in no text that anyone may print, log or send."""

import json
import pickle
import traceback
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from timestep import build_provider, configured_keys
from timestep.config import kinds
from timestep.config.schema import OpenAISettings
from timestep.config.settings import Settings, load_settings
from timestep.errors import ConfigurationError

SECRET = "s3cr3t-s3cr3t-s3cr3t"
NUMBER = int("1357924680" * 40)
PROVIDERS = {
    "groq": {"kind": "openai", "base_url": "https://api.groq.com/openai/v1", "api_key": SECRET},
    "gpu": {"kind": "ollama", "api_key": SECRET, "headers": {"Authorization": SECRET}},
    "lite": {"kind": "litellm", "api_key": SECRET},
    "any": {"kind": "any-llm", "api_key": SECRET},
    "own": {"kind": "own-kind", "api_key": SECRET, "nested": {"token": SECRET}, "list": [SECRET]},
}


@pytest.fixture(autouse=True)
def own_kind(monkeypatch):
    """A plug-in that must not be imported to read settings."""
    point = EntryPoint("own-kind", "no_such_module:build", kinds.PROVIDER_PLUGINS)
    monkeypatch.setattr(kinds, "entry_points", lambda group: [point])


@pytest.fixture
def full(monkeypatch):
    """Settings with a secret wherever one can be."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("TIMESTEP_OLLAMA__HEADERS", json.dumps({"X-Key": SECRET}))
    Path(".env").write_text(f"OLLAMA_API_KEY={SECRET}\nMY_KEY={SECRET}\n")
    Path("timestep.toml").write_text('[openai.headers]\nX-Key = "env:MY_KEY"\n')
    return Settings(providers=PROVIDERS)


def test_secrets_are_there_when_asked_for(full):
    assert full.openai.api_key.get_secret_value() == SECRET
    assert full.ollama.api_key.get_secret_value() == SECRET
    assert full.openai.headers == full.ollama.headers == {"X-Key": SECRET}
    assert full.providers["gpu"].headers == {"Authorization": SECRET}
    assert full.providers["own"].keys_of_plugin["nested"].get_secret_value() == {"token": SECRET}


def test_every_text_in_the_table_of_a_plugin_is_a_key():
    table = {"kind": "own-kind", "a": "key-of-text", "b": {"c": ["key-in-list", 3], "d": "short"}}

    assert configured_keys(Settings(providers={"own": table})) == ["key-of-text", "key-in-list"]


def test_the_table_of_a_plugin_changes_no_more_than_others(full):
    keys = full.providers["own"].keys_of_plugin

    with pytest.raises(TypeError):
        keys["x"] = 1
    for nested in (keys["nested"], keys["list"]):
        with pytest.raises(TypeError, match="cannot be changed"):
            nested.get_secret_value().clear()


SHOWN = {
    "repr": repr,
    "str": str,
    "dump": Settings.model_dump,
    "json": Settings.model_dump_json,
    "json mode": lambda settings: settings.model_dump(mode="json"),
    "origins": lambda settings: settings.origins,
    "sections": lambda settings: repr(settings.openai) + repr(settings.providers),
    "pickled": lambda settings: repr(pickle.loads(pickle.dumps(settings))),
    "copied": lambda settings: settings.model_copy(),
}


@pytest.mark.parametrize("show", SHOWN)
def test_no_secret_in_any_text_of_the_settings(full, show):
    assert SECRET not in str(SHOWN[show](full))


WRONG = [
    {"openai": {"api_key": SECRET + "\n" + SECRET}},
    {"openai": {"api_key": [SECRET]}},
    {"openai": {"api_key": {"value": SECRET}}},
    {"openai": {"headers": {"X-Key": SECRET + "\n"}}},
    {"openai": {"headers": {"X-Key": [SECRET]}}},
    {"openai": {"timeout": SECRET}},
    {"openai": SECRET},
    {"openai": {"base_url": f"https://me:{SECRET}@example.com/v1"}},
    {"openai": {"base_url": f"https://example.com/v1?key={SECRET}"}},
    {"openai": {"base_url": f"me:{SECRET}@example.com/v1"}},
    {"openai": {"base_url": "http://10.0.0.1/v1", "api_key": SECRET}},
    {"ollama": {"host": f"http://me:{SECRET}@gpu"}},
    {"ollama": {"host": f"http://gpu:{SECRET}"}},
    {"ollama": {"keep_alive": SECRET}},
    {"ollama": {"options": {"num_ctx": SECRET}}},
    {"ollama": {"options": {"temperature": [SECRET]}}},
    {"ollama": {"models": {"m": {"num_ctx": SECRET}}}},
    {"ollama": {"base_url": f"{SECRET}://example.com"}},
    {"ollama": {"host": f"{SECRET}://example.com"}},
    {"ollama": {"on_context_overflow": SECRET}},
    {"providers": {"a": {"kind": SECRET}}},
    {"providers": {"a": {"kind": "ollama", "options": {"num_ctx": SECRET}}}},
    {"traces": {"otlp": SECRET}},
    {"traces": {"redact": [f"(?P<{SECRET}>x)"]}},
    {"traces": {"retention": SECRET}},
    {"fallback": {"on": [SECRET]}},
    {"fallback": {"attempts": SECRET}},
    {"providers": {"groq": SECRET}},
    {"providers": {"groq": {"kind": "openai", "api_key": SECRET}}},
    {"aliases": {"a": [[SECRET]]}},
    {"unknown": SECRET},
    {"unknown": {"api_key": SECRET}},
]


@pytest.mark.parametrize("arguments", WRONG)
def test_no_secret_in_an_error_of_arguments(arguments):
    check_errors(arguments)


@pytest.mark.parametrize("arguments", WRONG)
@pytest.mark.parametrize("name", ["environment", ".env", "secrets"])
def test_no_secret_in_an_error_of_variables(monkeypatch, name, arguments):
    [(section, value)] = arguments.items()
    text = value if isinstance(value, str) else json.dumps(value)
    if name == "environment":
        monkeypatch.setenv(f"TIMESTEP_{section.upper()}", text)
    elif name == ".env":
        Path(".env").write_text(f"TIMESTEP_{section.upper()}='{text}'\n")
    else:
        Path(f"TIMESTEP_{section.upper()}").write_text(text)
        monkeypatch.setenv("TIMESTEP_SECRETS_DIR", ".")
    check_errors({})


@pytest.mark.parametrize(
    "text",
    [
        f'[openai]\napi_key = "{SECRET}\n',
        f"[openai]\napi_key = {SECRET}\n",
        f'[openai]\napi_kye = "{SECRET}"\n',
        f'[openai]\napi_key = ["{SECRET}"]\n',
        f'[openai]\napi_key = "{SECRET}"\napi_key = "{SECRET}"\n',
        f'[openai]\napi_key = "\\{SECRET}"\n',
    ],
)
def test_no_secret_in_an_error_of_toml(text):
    Path("timestep.toml").write_text(text)
    check_errors({})


def test_no_secret_in_an_error_of_a_section():
    for attempt in (
        lambda: OpenAISettings(timeout=SECRET),
        lambda: setattr(Settings(), "default_model", SECRET),
        lambda: setattr(Settings().openai, "api_key", SECRET),
    ):
        with pytest.raises(ValidationError) as caught:
            attempt()
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"keep_alive": NUMBER}, "ollama.keep_alive (argument): write a duration"),
        ({"options": {"num_ctx": NUMBER}}, "'num_ctx' must be a whole number"),
        ({"models": {"m": {"top_p": NUMBER}}}, "'top_p' must be a number"),
        ({"timeout": NUMBER}, "ollama.timeout (argument): must be"),
    ],
)
def test_a_number_is_in_no_error_either(table, words):
    with pytest.raises(ConfigurationError) as refused:
        build_provider(load_settings(ollama=table))

    assert words in str(refused.value)
    assert str(NUMBER) not in "".join(traceback.format_exception(refused.value))


def test_what_follows_env_is_named_only_when_it_can_be_a_variable():
    Path("timestep.toml").write_text(f'[openai]\napi_key = "env:{SECRET}"\n')
    check_errors({})


def check_errors(arguments):
    with pytest.raises(ConfigurationError) as configuration:
        build_provider(load_settings(**arguments))
    errors = [configuration.value]
    try:
        Settings(**arguments)
    except (ValidationError, SettingsError) as exc:
        errors.append(exc)
    for error in errors:
        assert SECRET not in "".join(traceback.format_exception(error))
        assert SECRET not in repr(error)
    assert SECRET not in str(configuration.value.args)
    for error in errors:
        if isinstance(error, ValidationError):
            assert SECRET not in str(error.errors()) + error.json()
