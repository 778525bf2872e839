"""``timestep config path``: the files that settings are read from."""

from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from timestep.config.files import SourceFile


@click.command()
@json_option
@configuration_options
def path(context: Context, *, as_json: bool) -> None:
    """Show the files that settings are read from, strongest first, and which exist."""
    files = context.source_files()
    if as_json:
        print_json([{"path": str(file.path.absolute()), "state": _state(file)} for file in files])
        return
    for file in files:
        table = f" [{'.'.join(file.table)}]" if file.table else ""
        click.echo(f"{_state(file):<9}{clean(str(file.path))}{table}")


def _state(file: "SourceFile") -> str:
    if file.is_read:
        return "read"
    return "not read" if file.path.exists() else "missing"
