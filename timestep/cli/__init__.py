"""The ``timestep`` command.

Each command has a module or a package of its name and imports what it needs when it runs. ``agent``
holds what commands that run an agent share.
"""

import io
import sys
from contextlib import suppress
from typing import cast

import click

from timestep.cli.batch import batch
from timestep.cli.chat import chat
from timestep.cli.check import check
from timestep.cli.commands import RootGroup
from timestep.cli.completion import completion
from timestep.cli.config import config
from timestep.cli.demo import demo
from timestep.cli.doctor import doctor
from timestep.cli.models import models
from timestep.cli.pull import pull
from timestep.cli.render import render
from timestep.cli.run import run
from timestep.cli.sessions import sessions
from timestep.cli.terminal import is_colourful
from timestep.cli.traces import traces
from timestep.net.version import __version__


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="timestep")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run OpenAI Agents SDK agents on any model."""
    ctx.color = None if is_colourful() else False
    # A model can write any character; a stream that cannot show it shows its number.
    with suppress(AttributeError):  # stdout may be replaced by an object that is not a file
        cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")


for command in (
    batch,
    chat,
    check,
    completion,
    config,
    demo,
    doctor,
    models,
    pull,
    render,
    run,
    sessions,
    traces,
):
    main.add_command(command)
