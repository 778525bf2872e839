import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.config.provenance import Origin, dotted
from timestep.config.settings import Settings
from timestep.config.sources import SHORT_NAMES, Variable, key_lines, variable_name

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
        "ollama.timeout.connect": 13,
        "ollama.timeout.idle": 13,
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
    origin = Origin("environment", "")
    path = Variable(name, "", origin).path

    assert path == SHORT_NAMES[name]
    assert Variable(variable_name(path), "", origin).path == path


def test_no_variable_shows_its_text():
    assert "s3cr3t" not in repr(Variable("A", "s3cr3t", Origin("environment", "")))


def test_the_example_env_file_sets_nothing_and_names_only_known_variables():
    example = Path(__file__).parent.parent / ".env.example"
    text = example.read_text(encoding="utf-8")
    assert Settings(_env_file=example) == Settings(_env_file=None)

    Path("all.env").write_text(text.replace("# TIMESTEP", "TIMESTEP").replace("# O", "O"))
    assert Settings(_env_file="all.env").model_fields_set
