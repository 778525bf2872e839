import re
from pathlib import Path

import pytest

from timestep.cli.demo import play

SCENES = """\
1. Two tool calls at once, streamed

user      What should I wear today in Oslo, and in Rome?
agent     Advisor, on smart = ollama/gpt-oss:20b
thinking  Two cities. I can look up both at once.
call      get_weather(city="Oslo")
call      get_weather(city="Rome")
result    -3 C, snow
result    21 C, sunny
answer    In Oslo a warm coat, a hat and boots: it snows at three below zero. In
          Rome a T-shirt will do: sun, and 21 degrees.
usage     2 requests, 52 tokens in, 46 out, 0.0 s

2. Structured output, with the tool at hand

user      I fly to Oslo tonight. What do I pack?
agent     Packer, on smart = ollama/gpt-oss:20b
call      get_weather(city="Oslo")
result    -3 C, snow
answer    {"city": "Oslo", "items": ["warm coat", "hat", "boots"]}
object    PackingList(city='Oslo', items=['warm coat', 'hat', 'boots'])
usage     2 requests, 52 tokens in, 29 out, 0.0 s

3. A handoff to an agent on another model

user      Is it T-shirt weather in Rome?
agent     Desk, on fast = ollama/qwen3:4b
handoff   Desk to Advisor
agent     Advisor, on smart = ollama/gpt-oss:20b
call      get_weather(city="Rome")
result    21 C, sunny
answer    Yes: sun, and 21 degrees.
usage     3 requests, 78 tokens in, 10 out, 0.0 s

The test server read all 7 requests as strictly as Ollama does.
"""


def without_durations(text):
    return re.sub(r"\d+\.\d s$", "0.0 s", text, flags=re.MULTILINE)


@pytest.fixture
def output(invoke):
    result = invoke("demo")

    assert result.exit_code == 0
    assert result.stderr == ""
    return without_durations(result.stdout)


def test_it_shows_a_tool_call_structured_output_and_a_handoff(output):
    assert SCENES in output


def test_it_says_that_no_model_runs(output):
    first = " ".join(output.split("\n\n")[0].split())

    assert first.startswith("No model runs here. A test server on this machine replays")


def test_it_shows_the_configuration_it_uses(output):
    assert '    smart = "ollama/gpt-oss:20b"\n' in output


def test_it_ends_with_the_way_to_real_models(output):
    closing = output.split(SCENES)[1]

    for step in ("ollama pull ", "OLLAMA_API_KEY", "OPENAI_API_KEY", "from_env()"):
        assert step in closing


def test_nothing_of_the_user_s_changes_what_it_shows(invoke, monkeypatch, output):
    """A demo that fails for a typo in somebody's .env shows nothing."""
    for name, value in {
        "TIMESTEP_WRONG": "1",
        "TIMESTEP_CONFIG": "missing.toml",
        "TIMESTEP_ALIASES__SMART": "gpt-4.1",
        "OLLAMA_BASE_URL": "http://127.0.0.1:9",
        "OLLAMA_API_KEY": "key",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    Path(".env").write_text("TIMESTEP_ALSO_WRONG=1\n")
    Path("timestep.toml").write_text("no toml")

    assert without_durations(invoke("demo").stdout) == output


def test_no_trace_leaves_the_machine(invoke, exported):
    result = invoke("demo")

    assert exported() == []
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_pipe_gets_no_escape_codes(output):
    assert "\x1b" not in output


def test_a_terminal_gets_bold_labels_and_dim_thinking(in_terminal, monkeypatch):
    monkeypatch.setattr(play, "_READING_SPEED", 0.001)
    shown = in_terminal(60, "demo")

    assert "\x1b[1mthinking  \x1b[0m\x1b[2mTwo\x1b[0m" in shown
    plain = re.sub(r"\x1b\[\d+m", "", shown)
    assert max(map(len, plain.split("Now a real model")[0].splitlines())) <= 60


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours_gets_none(invoke, monkeypatch, name, value):
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" in invoke("demo", color=True).stdout

    monkeypatch.setenv(name, value)
    assert "\x1b" not in invoke("demo", color=True).stdout


def test_a_reader_that_leaves_is_no_error(invoke_into, closed_pipe):
    assert invoke_into(closed_pipe, "demo") == (1, "")
