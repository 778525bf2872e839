"""What ``timestep run`` leaves in the record."""

import json
import time
from pathlib import Path

import pytest

from timestep import configured_keys
from timestep.config.settings import load_settings
from timestep.testing import Stall

MODEL = ("--model", "ollama/m")


pytestmark = pytest.mark.usefixtures("configured")


def test_a_run_is_in_the_record_with_its_bytes(invoke, fake_ollama):
    fake_ollama.reply("Hello there.")

    invoke("run", "Hi", *MODEL)

    [run] = json.loads(invoke("traces", "list", "--json").stdout)
    assert (run["name"], run["models"], run["calls"]) == ("timestep run", ["ollama/m"], 1)
    assert invoke("traces", "show", "--raw").stdout_bytes.startswith(fake_ollama.requests[-1].body)


def test_a_run_that_fails_is_in_the_record_too(invoke, fake_ollama):
    fake_ollama.fail(500, "the cat is on the keyboard", times=None)

    assert invoke("run", "Hi", *MODEL).exit_code == 1

    [run] = json.loads(invoke("traces", "list", "--errors", "--json").stdout)
    assert "the cat" in invoke("traces", "show", run["trace_id"]).stdout


def test_a_run_that_is_killed_during_its_first_answer_is_called_by_its_question(
    invoke, start, fake_ollama
):
    stall = Stall()
    fake_ollama.reply("Sunny.", fault=stall)
    command = start(
        "run", "How is the weather\nin Oslo? My key: sk-proj-abcdefghijklmnop1234", *MODEL
    )
    stall.wait_until_reached()
    # The server was asked after the call began; what has begun is soon in the file.
    titles = []
    for _ in range(1200):
        titles = [run["title"] for run in json.loads(invoke("traces", "list", "--json").stdout)]
        if titles:
            break
        time.sleep(0.05)
    command.kill()
    command.wait()

    said = "How is the weather in Oslo? My key: [redacted]"
    shown = invoke("traces", "show").stdout

    assert titles == [said]
    assert shown.startswith(said)
    assert shown.endswith(
        "The run has not ended, or its process ended during a call of ollama/m.\n"
    )


def test_configured_keys_and_patterns_never_reach_the_disk(invoke, fake_ollama, tmp_path):
    Path("timestep.toml").write_text(
        "[traces]\nredact = ['\\d{4}-\\d{4}']\n"
        "[providers.other]\nkind = 'openai'\nbase_url = 'https://x.example'\n"
        "api_key = 'an-odd-key-of-mine'\n"
        "[providers.other.headers]\nX-Title = 'plain enough'\nX-S = 'hdr-sekret-value-0003'\n"
    )
    fake_ollama.reply(
        "Your key is an-odd-key-of-mine, your card 1234-5678, the header hdr-sekret-value-0003. "
        "It is plain enough."
    )

    assert invoke("run", "Hi", *MODEL).exit_code == 0

    files = (tmp_path / "data" / "timestep").glob("traces.db*")
    stored = b"".join(file.read_bytes() for file in files)
    shown = invoke("traces", "show", "--full").stdout
    words = "Your key is [redacted], your card [redacted], the header [redacted]."
    assert f"{words} It is plain enough." in " ".join(shown.split())
    for secret in (b"an-odd-key-of-mine", b"1234-5678", b"hdr-sekret-value-0003"):
        assert secret not in stored


def test_nothing_is_recorded_when_it_is_turned_off(invoke, fake_ollama, tmp_path, monkeypatch):
    monkeypatch.setenv("TIMESTEP_TRACES__ENABLED", "false")
    fake_ollama.reply("Hello.")

    assert invoke("run", "Hi", *MODEL).stdout == "Hello.\n"

    assert not (tmp_path / "data").exists()


def test_every_kind_of_key_is_known():
    settings = load_settings(
        openai={"api_key": "openai-key"},
        ollama={"api_key": "ollama-key"},
        providers={
            "a": {"kind": "openai", "base_url": "https://a.example", "api_key": "provider-key"},
            "b": {"kind": "ollama", "api_key": "short"},
        },
    )

    assert configured_keys(settings) == ["openai-key", "ollama-key", "provider-key"]


HEADERS = {
    "X-S": "a-value-of-a-header",
    "Authorization": "Bearer key-in-a-header",
    "x-short": "plain",
    "ACCEPT": "application/json",
    "User-Agent": "agents of mine",
    "Content-Type": "application/json",
    "X-Title": "my application",
}


@pytest.mark.parametrize(
    "tables",
    [
        {"openai": {"headers": HEADERS}},
        {"ollama": {"headers": HEADERS}},
        {"providers": {"a": {"kind": "ollama", "headers": HEADERS}}},
        {"providers": {"a": {"kind": "openai", "base_url": "https://a", "headers": HEADERS}}},
    ],
)
def test_a_header_is_a_key_unless_its_name_says_otherwise(tables):
    assert configured_keys(load_settings(**tables)) == ["a-value-of-a-header", "key-in-a-header"]


@pytest.mark.parametrize("command", [["run", "Hi"], ["chat"]])
def test_a_model_whose_name_leads_nowhere_is_no_run(invoke, command):
    failed = invoke(*command, "--model", "nowhere/x", input="Hi\n")

    assert "[providers.nowhere]" in failed.stderr
    assert invoke("traces", "list", "--json").stdout == "[]\n"


def test_a_handoff_to_a_model_that_is_not_set_up_is_told_in_the_settings_words(invoke, fake_ollama):
    Path("desk.py").write_text(
        "from agents import Agent\n"
        "poet = Agent('poet', model='nowhere/x')\n"
        "desk = Agent('desk', model='ollama/m', handoffs=[poet])\n"
    )
    fake_ollama.reply(tool_calls=[("transfer_to_poet", {})])
    assert invoke("run", "**Write** a poem.", "--agent", "desk.py:desk").exit_code == 1

    shown = invoke("traces", "show").stdout

    assert "Add [providers.nowhere] to the settings" in shown.splitlines()[-1]
    assert json.loads(invoke("traces", "list", "--json").stdout)[0]["title"] == "Write a poem."
