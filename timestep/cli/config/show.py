"""``timestep config show``: the current settings."""

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.output import json_option, print_json, print_rows


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Show defaults too.")
@json_option
@configuration_options
def show(context: Context, *, everything: bool, as_json: bool) -> None:
    """Show the current settings as TOML, and where each came from.

    With --json all of them, defaults too, as one object.
    """
    settings = context.settings
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return
    from timestep.cli.config.leaves import read_leaves

    leaves = [leaf for leaf in read_leaves(settings) if leaf.is_set or everything]
    if not leaves:
        click.echo(
            "Nothing is configured, all settings are defaults (--all shows them). "
            "'timestep config init' writes a file to begin with.",
            err=True,
        )
        return
    print_rows([[leaf.line, f"# {leaf.origin.winner}"] for leaf in leaves])
