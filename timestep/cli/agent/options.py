"""The options of every command that runs an agent."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click

from timestep.cli.completion import complete_model, complete_session
from timestep.cli.sessions import last_session

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AgentOptions:
    """The values of the options."""

    reference: str | None  # where the agent is; None for a plain agent
    model: str | None
    instructions: str | None
    settings: tuple[str, ...] = ()  # model settings, each as `NAME=VALUE`
    session: str | None = None  # the name of the conversation to continue
    goes_on: bool = False  # whether to continue the last conversation
    max_turns: int = 10

    @cached_property
    def conversation(self) -> str | None:
        """The name of the conversation to continue; None for a new one."""
        if not self.goes_on:
            return self.session
        if self.session is not None:
            raise click.UsageError("Choose --continue or --session, not both.")
        return last_session()


def _check_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("write a name that is not empty.")
    if value is not None and not value.isprintable():
        raise click.BadParameter("write a name that can be printed, in UTF-8.")
    return value


def agent_options(command: _Command) -> _Command:
    """Add the options to *command*. Their names are the fields of `AgentOptions`."""
    options = [
        click.option(
            "-a",
            "--agent",
            "reference",
            type=click.Path(),
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
            callback=_check_name,
            metavar="NAME",
            help="Continue the conversation with this name, and keep it on this machine.",
        ),
        click.option(
            "-c", "--continue", "goes_on", is_flag=True, help="Continue the last conversation."
        ),
        click.option(
            "--max-turns",
            type=click.IntRange(1),
            default=AgentOptions.max_turns,
            show_default=True,
            help="The most model calls for one answer.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
