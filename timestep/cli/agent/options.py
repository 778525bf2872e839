"""The options of every command that runs an agent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from timestep.cli.completion import complete_file, complete_model, complete_session

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AgentOptions:
    """The values of the options.

    Attributes:
        reference: Where the agent is; None for a plain agent.
        model: The model to use instead of the agent's own.
        instructions: The instructions to use instead of the agent's own.
        settings: Model settings, each as ``NAME=VALUE``.
        session: The name of the conversation to continue.
        max_turns: The most model calls for one answer.
    """

    reference: str | None
    model: str | None
    instructions: str | None
    settings: tuple[str, ...]
    session: str | None
    max_turns: int


def agent_options(command: _Command) -> _Command:
    """Add the options to *command*. Their names are the fields of `AgentOptions`."""
    options = [
        click.option(
            "-a",
            "--agent",
            "reference",
            shell_complete=complete_file,
            metavar="REF",
            help="The agent: file.py, file.py:attribute or module:attribute. Default: a plain agent.",
        ),
        click.option(
            "-m",
            "--model",
            shell_complete=complete_model,
            metavar="NAME",
            help="The model or alias. Default: the agent's own, or default_model.",
        ),
        click.option("-i", "--instructions", metavar="TEXT", help="The instructions of the agent."),
        click.option(
            "--set",
            "settings",
            metavar="NAME=VALUE",
            multiple=True,
            help="A model setting, such as temperature=0.2. Can be repeated.",
        ),
        click.option(
            "-s",
            "--session",
            shell_complete=complete_session,
            metavar="NAME",
            help="Continue the conversation with this name, and keep it on this machine.",
        ),
        click.option(
            "--max-turns",
            type=click.IntRange(1),
            default=10,
            show_default=True,
            help="The most model calls for one answer.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
