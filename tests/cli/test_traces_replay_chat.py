"""A run on the chat-completions wire is recorded byte for byte, and can be run again."""

import json

import pytest


@pytest.fixture
def recorded(invoke, fake_openai, monkeypatch, tmp_path):
    """A run with a tool on a server of kind openai."""
    monkeypatch.setenv("TIMESTEP_PROVIDERS__SHOP__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__SHOP__BASE_URL", f"{fake_openai.url}/v1")
    monkeypatch.setenv("TIMESTEP_TRACES__ENABLED", "true")
    (tmp_path / "desk.py").write_text(
        "from agents import Agent, function_tool\n"
        "@function_tool\n"
        "def double(number: int) -> int:\n"
        "    return 2 * number\n"
        "desk = Agent(name='desk', model='shop/m', instructions='Be brief.', tools=[double])\n"
    )
    fake_openai.reply(tool_calls=[("double", {"number": 4})])
    fake_openai.reply("It is 8.")
    result = invoke("run", "What is 2 * 4?", "--agent", "desk.py:desk")
    assert result.exit_code == 0, result.output
    return fake_openai


def test_the_bytes_are_shown(invoke, recorded):
    result = invoke("traces", "show", "--raw", "--step", "2")
    assert '"role":"tool"' in result.stdout.replace(" ", "")
    assert "data: [DONE]" in result.stdout


def test_it_runs_again_without_any_server(invoke, recorded):
    asked = len(recorded.chats)
    result = invoke("traces", "replay", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["answer"] == "It is 8."
    assert value["unknown_calls"] == []
    assert all(pair["same"] for pair in value["diff"]["pairs"])  # the prefix of the model, too
    assert len(recorded.chats) == asked
    first, second = json.loads(invoke("traces", "list", "--json").stdout)
    assert (first["outcome"], second["outcome"]) == ("replayed", "ok")
