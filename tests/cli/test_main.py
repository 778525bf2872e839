"""What holds for every command: help, version, cheap start, quiet ends."""

import errno
import io
import os
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import timestep
from timestep.cli.commands import RootGroup


def test_the_version_is_the_package_s(invoke):
    assert invoke("--version").stdout == f"timestep, version {timestep.__version__}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ()])
def test_the_help_names_every_command(invoke, arguments):
    result = invoke(*arguments)

    assert "demo" in result.output
    assert "run" in result.output


def test_an_unknown_command_is_refused(invoke):
    result = invoke("rnu")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "rnu" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["demo", "--help"],
        ["run", "--help"],
        ["chat", "--help"],
        ["check", "--help"],
    ],
)
def test_help_and_version_import_no_sdk(arguments, imported_by):
    """They answer at once: the SDK takes two seconds to import."""
    imported = imported_by(*arguments)

    assert "click" in imported
    assert not imported & {"agents", "openai", "ollama", "httpx", "pydantic"}


def test_the_help_of_a_group_shows_whole_sentences(invoke):
    for group in ((), ("traces",), ("config",)):
        shown = invoke(*group, "--help", env={"COLUMNS": "80"}).output

        assert "..." not in shown.partition("Commands:")[2]
        assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("command", ["models", "doctor"])
@pytest.mark.parametrize("is_running", [True, False])
def test_commands_that_only_ask_servers_import_no_sdk(
    command, is_running, imported_by, fake_ollama, configured
):
    fake_ollama.add_model("llama3.2")
    if not is_running:
        fake_ollama.refuse()

    imported = imported_by(command, code=None)

    assert "timestep.cli.inventory" in imported
    assert not imported & {"agents", "openai", "timestep.errors", "timestep.registry"}


UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"])
HAS_FULL_DISK = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")


@HAS_FULL_DISK
@UNBUFFERED
@pytest.mark.parametrize("arguments", [["--help"], ["config", "schema"], ["completion", "bash"]])
def test_a_full_disk_is_told_without_a_traceback(arguments, unbuffered, start):
    with Path("/dev/full").open("w") as full:
        process = start(*arguments, stdout=full, PYTHONUNBUFFERED=unbuffered)
        stderr = process.stderr.read()

    assert process.wait() == 1
    assert stderr == "Error: Standard output cannot be written: No space left on device.\n"


@HAS_FULL_DISK
@pytest.mark.parametrize("form", [[], ["--jsonl"]])
def test_an_answer_that_a_full_disk_loses_is_told(form, invoke_into, fake_ollama, configured):
    fake_ollama.reply("Hello.")
    with Path("/dev/full").open("w") as full:
        code, stderr = invoke_into(full, "run", "Hi", "--model", "ollama/m", *form)

    assert code == 1
    assert stderr == "Error: Standard output cannot be written: No space left on device.\n"


@UNBUFFERED
@pytest.mark.parametrize("arguments", [["--help"], ["config", "schema"]])
def test_a_closed_pipe_ends_a_command_without_a_word(arguments, unbuffered, start):
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*arguments, stdout=writing, PYTHONUNBUFFERED=unbuffered)
    os.close(writing)

    assert process.stderr.read() == ""
    assert process.wait() == 1


@HAS_FULL_DISK
@UNBUFFERED
@pytest.mark.parametrize("arguments", [["nosuch"], ["config", "init"]])
def test_messages_that_a_full_disk_loses_fail_the_command(arguments, unbuffered, start):
    with Path("/dev/full").open("w") as full:
        process = start(*arguments, stderr=full, PYTHONUNBUFFERED=unbuffered)

    assert process.wait() == 1


@pytest.mark.parametrize(
    ("closed", "arguments", "code", "shown"),
    [
        ("<&- 2>&-", ("run", "Hi"), 0, "ok\n"),
        ("<&-", ("run",), 2, ""),
    ],
)
def test_a_closed_stream_is_an_empty_one(
    start, fake_ollama, configured, monkeypatch, closed, arguments, code, shown
):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/llama3.2")
    if "Hi" in arguments:
        fake_ollama.reply("ok")
    process = start(*arguments, closing=closed)
    stdout, stderr = process.communicate()

    assert (process.returncode, stdout) == (code, shown)
    assert "Traceback" not in stderr


def test_a_chat_without_standard_input_ends_at_once(invoke_into, monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/llama3.2")
    monkeypatch.setattr(sys, "stdin", None)

    result = invoke_into(io.StringIO(), "chat")
    sys.stdin.close()  # the null device

    assert result == (0, "")


def test_another_failure_of_the_system_is_not_taken_for_a_full_disk():
    @click.command()
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device", "traces.db")

    result = CliRunner().invoke(RootGroup(commands=[fail]), ["fail"])

    assert isinstance(result.exception, OSError)


def test_a_closed_output_is_no_error(start):
    process = start("config", "show", "--all", closing=">&-")

    assert (process.stderr.read(), process.wait()) == ("", 0)


def test_ctrl_c_ends_any_command_with_130():
    @click.command()
    def wait():
        raise KeyboardInterrupt

    result = CliRunner().invoke(RootGroup(commands=[wait]), ["wait"])

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\n")
