"""A key that a command prints, as servers on loopback see it."""

import copy
import sys
import traceback
from pathlib import Path

import pytest
from agents import Agent, RunConfig

from timestep.config.settings import Settings
from timestep.errors import ConfigurationError
from timestep.net.key_command import KeyCommand
from timestep.registry import MultiModelProvider

COUNTING = """
import pathlib
runs = pathlib.Path("runs")
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
print(f"key-{len(runs.read_text())}")
"""
TABLES = [(prefix, api) for prefix in ("", "p/") for api in ("responses", "chat_completions")]


def printing(code):
    return [sys.executable, "-c", code]


def made(prefix, url, code, **more):
    table = {"base_url": url, "api_key_command": printing(code), "max_retries": 0, **more}
    tables = {"providers": {"p": {"kind": "openai", **table}}} if prefix else {"openai": table}
    return MultiModelProvider.from_settings(Settings(_env_file=None, **tables))


def keys_in(server):
    return [headers.get("authorization") for _, headers, _ in server.requests]


def taking_only(server, *keys):
    """Make *server* refuse every key but *keys*, and repeat what it refuses."""

    def answer(_):
        sent = keys_in(server)[-1]
        if sent.removeprefix("Bearer ") in keys:
            return None
        return 401, {"error": {"message": f"{sent} is no key of ours"}}

    server.answers = answer


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_the_command_runs_once_for_many_requests(
    prefix, api, openai_server, run, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    provider = made(prefix, openai_server.base_url, COUNTING, api=api)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    assert not Path("runs").exists()  # noqa: ASYNC240 - nothing else runs
    for _ in range(2):
        await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert keys_in(openai_server) == ["Bearer key-1"] * 2


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_it_runs_again_when_the_server_refuses_the_key(prefix, api, openai_server, run):
    taking_only(openai_server, "key-2")
    provider = made(prefix, openai_server.base_url, COUNTING, api=api)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert keys_in(openai_server) == ["Bearer key-1", "Bearer key-2", "Bearer key-2"]


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_a_second_refusal_is_an_error_that_shows_no_key(prefix, api, openai_server, run):
    taking_only(openai_server)
    provider = made(prefix, openai_server.base_url, "print('violet-otter-lamp')", api=api)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    with pytest.raises(Exception, match="401") as caught:
        await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert len(openai_server.requests) == 2
    assert "otter" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (printing("raise SystemExit(3)"), "ended with status 3"),
        (printing("print('otter'); raise SystemExit(1)"), "ended with status 1"),
        (printing("pass"), "printed nothing that can be a key"),
        (printing("print('otter\\nlamp')"), "printed nothing that can be a key"),
        (["/no/such/program"], r"cannot be run \(FileNotFoundError\)"),
    ],
    ids=["fails", "fails and prints", "prints nothing", "prints lines", "is missing"],
)
async def test_a_command_without_a_key_is_an_error_that_repeats_nothing(command, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        await KeyCommand(command).key()

    assert "otter" not in "".join(traceback.format_exception(caught.value)).replace(command[-1], "")


async def test_a_command_that_takes_too_long_is_ended():
    waiting = printing("print('otter', flush=True)\nimport threading\nthreading.Event().wait()")
    with pytest.raises(ConfigurationError, match=r"took longer than 0\.5 s"):
        await KeyCommand(waiting, seconds=0.5).key()


async def test_no_shell_reads_the_arguments():
    echoing = [*printing("import sys; print(sys.argv[1])"), "$HOME;x"]

    assert await KeyCommand(echoing).key() == "$HOME;x"


async def test_a_copy_runs_the_command_itself():
    first = KeyCommand(printing(COUNTING))
    assert await first.key() == "key-1"

    assert await copy.deepcopy(first).key() == "key-2"


@pytest.mark.parametrize("command", ["pass show key", [], [""], [1]], ids=str)
def test_a_command_is_a_list_of_texts(command):
    with pytest.raises(ConfigurationError, match="api_key_command is a list"):
        KeyCommand(command)
    with pytest.raises(ValueError, match="api_key_command"):
        Settings(openai={"api_key_command": command})


def test_its_key_does_not_travel_in_the_clear():
    with pytest.raises(ValueError, match="http"):
        Settings(openai={"api_key_command": ["x"], "base_url": "http://gpu.example"})
