import re

from scripts.settings_table import server_tables, settings_table
from timestep.config.kinds import KINDS
from timestep.config.schema import OllamaSettings, OpenAISettings, TracesSettings
from timestep.config.sources.variables import SHORT_NAMES
from timestep.net.fallback_rules import FallbackRules


def rows(text):
    """The rows of the tables in *text*, by their keys."""
    found = re.findall(r"^\| `([\w.]+)`(.*)$", text, re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_setting_of_a_server_has_one_row():
    tables = [OpenAISettings, OllamaSettings, *(kind.table for kind in KINDS.values())]

    assert set(rows(server_tables())) == {key for table in tables for key in table.model_fields}


def test_every_other_setting_has_one_row():
    sections = {"fallback": FallbackRules, "traces": TracesSettings}
    keys = {f"{name}.{key}" for name, table in sections.items() for key in table.model_fields}

    assert set(rows(settings_table())) == {*keys, "aliases.NAME", "default_model"}


def test_every_row_has_a_type_and_a_description():
    for row in (rows(settings_table()) | rows(server_tables())).values():
        _, kind, _, description, _ = row.split("|")
        assert kind.strip()
        assert description.strip()


def test_every_short_name_is_in_a_row_of_its_key():
    table = rows(server_tables())

    assert all(f"<br>`{name}`" in table[path[-1]] for name, path in SHORT_NAMES.items())


def test_rows_say_types_and_defaults():
    servers, others = rows(server_tables()), rows(settings_table())

    assert servers["organization"] == (
        "<br>`OPENAI_ORG_ID` | text |  | The organization sent with every request. |"
    )
    assert "| `error` or `truncate` | `error` |" in servers["on_context_overflow"]
    assert "| number or table |  |" in servers["timeout"]
    assert "| text or number |  |" in servers["keep_alive"]
    assert "| true or false | `false` |" in servers["tool_emulation"]
    assert "| required |" in servers["kind"]
    assert "| text or list or table |  |" in others["aliases.NAME"]
    assert "| path |  |" in others["traces.path"]


def test_a_key_that_kinds_use_differently_is_described_for_each():
    row = rows(server_tables())["base_url"]

    assert "| openai: required |" in row
    assert "<br>openai: The base URL of the API.<br>ollama: The server for every model" in row
    assert "litellm, any-llm: The base URL of the API. Without it, the gateway chooses." in row


def test_keys_stand_below_the_kinds_that_have_them():
    parts = re.split(r"^### ", server_tables(), flags=re.MULTILINE)
    titles = {key: part.split("\n")[0] for part in parts for key in rows(part)}

    assert titles["api_key"] == "Every server"
    assert titles["query"] == "openai"
    assert titles["repairs"] == "openai and ollama"
    assert titles["host"] == "ollama"
    assert titles["prefix_mode"] == "The table `[openai]` alone"
