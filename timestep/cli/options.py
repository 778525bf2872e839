"""The options that commands share."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from timestep.cli.completion import complete_model, complete_session

_Command = TypeVar("_Command", bound=Callable[..., Any])

agent_option = partial(click.option, "-a", "--agent", "reference", type=click.Path(), metavar="REF")
model_option = partial(click.option, "-m", "--model", shell_complete=complete_model, metavar="NAME")
instructions_option = partial(click.option, "-i", "--instructions", metavar="TEXT")
file_option = partial(click.option, metavar="FILE", type=click.Path())
timeout_option = partial(
    click.option,
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    show_default=True,
)


def _check_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (value.strip() and value.isprintable()):
        raise click.BadParameter("write a name that is not empty and can be printed, in UTF-8.")
    return value


def agent_options(command: _Command) -> _Command:
    """Add the options of a command that runs an agent. `prepare` takes their values by name."""
    options = [
        agent_option(
            help="The agent: file.py, file.py:attribute or module:attribute. Default: a plain agent."
        ),
        model_option(help="The model or alias. Default: the agent's own, or default_model."),
        instructions_option(help="The instructions of the agent."),
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
            default=10,
            show_default=True,
            help="The most model calls for one answer.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
