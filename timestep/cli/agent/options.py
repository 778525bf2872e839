"""The options that say who is asked, and how: of every command that runs an agent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from timestep.cli.completion import complete_file, complete_model

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AgentOptions:
    """What the options said.

    Attributes:
        reference: Of the agent; None for a plain one.
        model: Instead of the agent's own.
        instructions: Instead of the agent's own.
        settings: ``NAME=VALUE`` of model settings.
        session: The name of the conversation to go on with.
        max_turns: How often the model may be asked for one answer.
    """

    reference: str | None
    model: str | None
    instructions: str | None
    settings: tuple[str, ...]
    session: str | None
    max_turns: int


def agent_options(command: _Command) -> _Command:
    """*command* with the options, which `AgentOptions` takes by their names."""
    options = [
        click.option(
            "-a",
            "--agent",
            "reference",
            shell_complete=complete_file,
            metavar="MODULE:ATTRIBUTE",
            help="The agent, as module:attribute or file.py:attribute; a plain one when left out.",
        ),
        click.option(
            "-m",
            "--model",
            shell_complete=complete_model,
            metavar="NAME",
            help="The model or alias; the agent's own or default_model when left out.",
        ),
        click.option("-i", "--instructions", metavar="TEXT", help="What the agent is told to be."),
        click.option(
            "--set",
            "settings",
            metavar="NAME=VALUE",
            multiple=True,
            help="A model setting, such as temperature=0.2; may be repeated.",
        ),
        click.option(
            "-s",
            "--session",
            metavar="NAME",
            help="Go on with the conversation of this name, kept on this machine.",
        ),
        click.option(
            "--max-turns",
            type=click.IntRange(1),
            default=10,
            show_default=True,
            help="How often the model may be asked for one answer.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
