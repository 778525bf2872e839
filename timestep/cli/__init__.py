"""The ``timestep`` command.

Each command has a module or a package of its name and imports what it needs when it runs. ``agent``
holds what commands that run an agent share.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any, cast

import click

from timestep import __version__
from timestep.cli.batch import batch
from timestep.cli.chat import chat
from timestep.cli.check import check
from timestep.cli.completion import completion
from timestep.cli.config import config
from timestep.cli.demo import demo
from timestep.cli.doctor import doctor
from timestep.cli.models import models
from timestep.cli.pull import pull
from timestep.cli.render import render
from timestep.cli.run import run
from timestep.cli.streams import checked_output, open_closed_streams
from timestep.cli.traces import traces

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells count: 128 plus the number of the signal."""


class Commands(click.Group):
    """A group whose commands end without a traceback after Ctrl-C or when output is lost."""

    def main(self, *args: Any, **keywords: Any) -> Any:
        """Run the command and exit.

        Raises:
            SystemExit: With 1, when the output cannot be written.
        """
        open_closed_streams()
        with checked_output():
            return super().main(*args, **keywords)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command.

        Raises:
            Exit: With 130, after Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="timestep")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run OpenAI Agents SDK agents on any model."""
    # These are conventions of terminals, not our settings.
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
    # A model can write any character; a stream that cannot show it shows its number.
    with suppress(AttributeError):  # stdout may be replaced by an object that is not a file
        cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")


main.add_command(batch)
main.add_command(chat)
main.add_command(check)
main.add_command(completion)
main.add_command(config)
main.add_command(demo)
main.add_command(doctor)
main.add_command(models)
main.add_command(pull)
main.add_command(render)
main.add_command(run)
main.add_command(traces)
