"""The section [traces]."""

import json
from pathlib import Path

import pytest

from timestep.config.settings import Settings, load_settings
from timestep.errors import ConfigurationError


def test_runs_are_recorded_in_the_data_directory_unless_told_otherwise(tmp_path):
    traces = Settings().traces

    assert traces.enabled
    assert traces.file == tmp_path / "data" / "timestep" / "traces.db"
    assert traces.retention == 30
    assert traces.redact == []
    assert traces.otlp is None


def test_the_table_says_where_and_for_how_long(tmp_path):
    Path("timestep.toml").write_text(
        "[traces]\nenabled = false\npath = 'here.db'\nretention = 0\n"
        "redact = ['\\d{4}']\notlp = 'http://localhost:4318/'\n"
    )

    traces = Settings().traces

    assert not traces.enabled
    assert traces.file == tmp_path / "here.db"
    assert traces.retention == 0
    assert traces.redact == [r"\d{4}"]
    assert traces.otlp == "http://localhost:4318"


def test_variables_say_it_too(monkeypatch):
    monkeypatch.setenv("TIMESTEP_TRACES__PATH", "~/x.db")
    monkeypatch.setenv("TIMESTEP_TRACES__REDACT", json.dumps(["a.c"]))
    monkeypatch.setenv("TIMESTEP_TRACES__RETENTION", "0.5")

    traces = Settings().traces

    assert traces.file == Path.home() / "x.db"
    assert (traces.redact, traces.retention) == (["a.c"], 0.5)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"redact": ["("]}, "not a regular expression"),
        ({"redact": ["(" * 2_000 + ")" * 2_000]}, "nested too deep"),
        ({"redact": ["a*"]}, "matches the empty text"),
        ({"retention": -1}, "retention"),
        ({"otlp": "localhost"}, "otlp"),
        ({"ttl": 1}, "traces.ttl"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(table, words):
    with pytest.raises(ConfigurationError, match="traces") as caught:
        load_settings(traces=table)

    assert words in str(caught.value)
