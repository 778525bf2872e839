"""Groups of commands: their help, and the exit of a command that fails or is interrupted."""

import sys
from typing import Any

import click

from timestep.cli.output import print_error
from timestep.cli.streams import checked_output, open_closed_streams

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells count: 128 plus the number of the signal."""


class Group(click.Group):
    """A group whose help shows the first sentence of every command in full."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        rows = [
            (name, command.get_short_help_str(sys.maxsize))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class RootGroup(Group):
    """The whole program. It ends without a traceback after an error, Ctrl-C or lost output."""

    def main(self, *args: Any, **keywords: Any) -> Any:
        """Run the command and exit: with 1 when the output cannot be written."""
        open_closed_streams()
        with checked_output():
            try:
                # Returns the code of an early exit, else the result of the command, which is None.
                sys.exit(super().main(*args, **{**keywords, "standalone_mode": False}) or 0)
            except click.ClickException as exc:
                _show(exc)
                sys.exit(exc.exit_code)
            except click.Abort as exc:
                sys.exit(INTERRUPTED if isinstance(exc.__cause__, KeyboardInterrupt) else 1)


def _show(error: click.ClickException) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    if isinstance(error, click.UsageError) and error.ctx is not None:
        ctx = error.ctx
        hint = f"Try '{ctx.command_path} {ctx.help_option_names[0]}' for help."
        click.echo(f"{ctx.get_usage()}\n{hint}\n", err=True)
    print_error(error.format_message())
