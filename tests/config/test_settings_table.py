from scripts.settings_table import settings_table
from timestep.config.kinds import KINDS
from timestep.config.schema import (
    OllamaSettings,
    OpenAISettings,
    TracesSettings,
)
from timestep.config.settings import Settings
from timestep.config.sources.variables import SHORT_NAMES
from timestep.net.chains import FallbackRules


def rows():
    header, rule, *rows = settings_table().splitlines()
    assert header == "| environment | TOML | type | default | |"
    assert rule == "|---|---|---|---|---|"
    return {row.split("|")[2].strip(" `"): row for row in rows}


def test_every_setting_has_one_row():
    sections = {
        "openai": OpenAISettings,
        "ollama": OllamaSettings,
        "fallback": FallbackRules,
        "traces": TracesSettings,
    }
    expected = {
        *(f"{name}.{key}" for name, section in sections.items() for key in section.model_fields),
        *(f"providers.NAME.{key}" for kind in KINDS.values() for key in kind.table.model_fields),
        "aliases.NAME",
        "default_model",
    }

    assert set(rows()) == expected
    assert set(Settings.model_fields) == {
        "openai",
        "ollama",
        "providers",
        "aliases",
        "default_model",
        "fallback",
        "traces",
    }


def test_every_row_has_a_type_and_a_description():
    for row in rows().values():
        _, _, _, kind, _, description, _ = row.split("|")
        assert kind.strip()
        assert description.strip()


def test_every_short_name_is_in_the_table():
    table = settings_table()

    assert all(f"`{name}`, `TIMESTEP_" in table for name in SHORT_NAMES)


def test_rows_say_types_and_defaults():
    assert rows()["openai.api_key"] == (
        "| `OPENAI_API_KEY`, `TIMESTEP_OPENAI__API_KEY` | `openai.api_key` | secret |  | The API key. |"
    )
    assert "| `error` or `truncate` | `error` |" in rows()["ollama.on_context_overflow"]
    assert "| number or table |  |" in rows()["ollama.timeout"]
    assert "| text or number |  |" in rows()["ollama.keep_alive"]
    assert "| true or false | `false` |" in rows()["ollama.tool_emulation"]
    assert "| text or list or table |  |" in rows()["aliases.NAME"]
    assert "| required |" in rows()["providers.NAME.kind"]
    assert "(openai: required)" in rows()["providers.NAME.base_url"]
    assert "(ollama)" in rows()["providers.NAME.options"]
    assert "| path |  |" in rows()["traces.path"]


def test_a_key_that_kinds_use_differently_is_described_for_each():
    row = rows()["providers.NAME.base_url"]

    assert "openai: The base URL of the API. ollama: The server for every model" in row
    assert "litellm, any-llm: The base URL of the API; the choice of the gateway" in row
