import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.config.provenance import DEFAULT, Origin, dotted
from timestep.config.settings import Settings
from timestep.config.sources.arguments import ArgumentsSource
from timestep.config.sources.toml import key_lines
from timestep.config.sources.variables import (
    SHORT_NAMES,
    Variable,
    VariablesSource,
    variable_name,
    variable_path,
)

TOML = '''\
# [not.a.table]
default_model = "ollama/x"  # top = 1

[openai]

headers."X-Title" = """
[ollama]
base_url = 3
"""
  base_url = 'http://x'

[ollama]
timeout = { connect = 5, idle = 9 }
options.stop = [
  "a",  # key = 1

  "b = [",
]
options.num_ctx = 1
[ollama.models."llama3.2"]
num_ctx = 2

[[unknown]]
a = 1
[[unknown]]
a = 2

[providers.groq]
kind = 'openai'\r
[aliases]'''


def test_the_line_of_every_key_is_found():
    tomllib.loads(TOML)

    assert {dotted(path): line for path, line in key_lines(TOML).items()} == {
        "default_model": 2,
        "openai": 4,
        "openai.headers": 6,
        "openai.headers.X-Title": 6,
        "openai.base_url": 10,
        "ollama": 12,
        "ollama.timeout": 13,
        "ollama.options": 14,
        "ollama.options.stop": 14,
        "ollama.options.num_ctx": 19,
        "ollama.models": 20,
        'ollama.models."llama3.2"': 20,
        'ollama.models."llama3.2".num_ctx': 21,
        "unknown": 23,
        "unknown.a": 24,
        "providers": 28,
        "providers.groq": 28,
        "providers.groq.kind": 29,
        "aliases": 30,
    }


keys = st.text("ab-_.\"'[]= #\\\n\u2028é", max_size=4)


def quoted(key):
    return '"' + "".join(f"\\u{ord(c):04x}" for c in key) + '"'


@given(st.dictionaries(keys, st.dictionaries(keys, keys, min_size=1), min_size=1))
def test_lines_are_found_for_any_key_and_value(tables):
    lines, text = {}, ""
    for table, values in tables.items():
        text += f"[{quoted(table)}]\n"
        lines[table,] = text.count("\n")
        for key, value in values.items():
            lines[table, key] = text.count("\n") + 1
            text += f"{quoted(key)} = '''\n{value.replace(chr(39), '')}'''\n"

    assert key_lines(text) == lines


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_short_and_long_names_set_the_same_key(name):
    path = variable_path(name)

    assert path == SHORT_NAMES[name]
    assert variable_path(variable_name(path)) == path


def test_no_variable_shows_its_text():
    assert "s3cr3t" not in repr(Variable("A", "s3cr3t", Origin("environment", "")))


def test_the_example_env_file_sets_nothing_and_names_only_known_variables():
    example = Path(__file__).parents[2] / ".env.example"
    text = example.read_text(encoding="utf-8")
    assert Settings(_env_file=example) == Settings(_env_file=None)

    Path("all.env").write_text(text.replace("# TIMESTEP", "TIMESTEP").replace("# O", "O"))
    assert Settings(_env_file="all.env").model_fields_set


@pytest.fixture
def parsed(monkeypatch):
    """The lengths of the texts that were parsed as TOML, in order."""
    lengths, loads = [], tomllib.loads

    def counted(text, **options):
        lengths.append(len(text))
        return loads(text, **options)

    monkeypatch.setattr(tomllib, "loads", counted)
    return lengths


@pytest.mark.parametrize(
    "value",
    ["[\n{lines}]", '"""\n{lines}"""', "'''\n{lines}'''", '"{lines}"'],
    ids=["list", "text", "literal text", "one line"],
)
def test_the_work_for_the_lines_of_keys_grows_with_the_file(parsed, value):
    line = "1, 2,\n" if "\n" in value else "1, 2, "
    value = value.replace("{lines}", line * 5000)
    text = f"[ollama.options]\nstop = {value}\n[openai]\nproject = 'p'\n"
    lines = key_lines(text)

    assert lines["openai", "project"] == text.count("\n")
    assert sum(parsed) < 100  # the keys, and not one value


def test_many_keys_are_each_parsed_once(parsed):
    text = "[ollama.options]\n" + "".join(f"a{n} = {n}\n" for n in range(2000))
    lines = key_lines(text)

    assert lines["ollama", "options", "a1999"] == 2001
    assert len(parsed) == 2001
    assert sum(parsed) < 2 * len(text)


def test_pyproject_is_parsed_once(parsed):
    text = "[project]\nname = 'x'\n[tool.timestep]\ndefault_model = 'm'\n"
    Path("pyproject.toml").write_text(text)

    assert Settings().default_model == "m"
    assert parsed.count(len(text)) == 1


@pytest.mark.parametrize("quotes", ['"""', "'''"])
@pytest.mark.parametrize("inner", ["", "{q}", "{q}{q}", "x{q}{q}", "{q}{q}x", "\n{q}x{q}\n"])
def test_a_text_may_end_in_quotes_of_its_own(quotes, inner):
    text = f"a = {quotes}{inner.replace('{q}', quotes[0])}{quotes}\nb = {quotes[0]}{quotes[0]}\n"
    tomllib.loads(text)

    assert key_lines(text)["b",] == text.count("\n")


def test_a_pointer_may_lead_to_a_table(monkeypatch):
    Path("timestep.toml").write_text("[ollama]\noptions = 'env:OPTIONS'\n")
    monkeypatch.setenv("OPTIONS", '{"num_ctx": 4096, "stop": ["a"]}')

    assert Settings().ollama.options == {"num_ctx": 4096, "stop": ["a"]}


def test_no_source_shows_its_values():
    for source in (
        ArgumentsSource(Settings, {"openai": {"api_key": "s3cr3t"}}),
        VariablesSource(Settings, [Variable("OPENAI_API_KEY", "s3cr3t", DEFAULT)]),
    ):
        assert source()["openai"]["api_key"] == "s3cr3t"
        assert "s3cr3t" not in repr(source)


def test_a_pointer_below_a_stronger_plain_value_needs_no_variable(monkeypatch):
    Path("timestep.toml").write_text("[ollama.timeout]\nidle = 'env:NOWHERE'\n")
    monkeypatch.setenv("TIMESTEP_OLLAMA__TIMEOUT", "30")

    assert Settings().ollama.timeout == 30


def test_a_source_can_be_asked_for_one_field():
    source = ArgumentsSource(Settings, {"default_model": "m"})

    assert source.get_field_value(Settings.model_fields["default_model"], "default_model") == (
        "m",
        "default_model",
        False,
    )
