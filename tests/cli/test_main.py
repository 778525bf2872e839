"""What holds for every command: help, version, cheap start, quiet ends."""

import click
import pytest
from click.testing import CliRunner

import timestep
from timestep.cli import Commands


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
    [["--help"], ["--version"], ["demo", "--help"], ["run", "--help"], ["chat", "--help"]],
)
def test_help_and_version_import_no_sdk(arguments, start):
    """They answer at once: the SDK takes two seconds to import."""
    process = start(*arguments, PYTHONPROFILEIMPORTTIME="1")
    stdout, stderr = process.communicate()
    imported = {line.split("|")[-1].strip() for line in stderr.splitlines()}

    assert stdout
    assert "click" in imported
    assert not imported & {"agents", "openai", "ollama", "httpx", "pydantic"}


def test_ctrl_c_ends_any_command_with_130():
    @click.command()
    def wait():
        raise KeyboardInterrupt

    result = CliRunner().invoke(Commands(commands=[wait]), ["wait"])

    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "\n")
