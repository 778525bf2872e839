"""``timestep models``: list the models and what they can do."""

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.options import timeout_option
from timestep.cli.output import json_option, print_json


@click.command()
@click.argument("words", metavar="[WORD]...", nargs=-1)
@timeout_option(default=10.0, help="Give up on a server after this many seconds of silence.")
@json_option
@configuration_options
def models(context: Context, *, words: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """List the models of every provider, what they can do, and which are loaded.

    With WORDs, only the models that have all of them in their name, their aliases or in what they
    can do. A model that 'timestep check' has tried shows its last result. If a provider cannot
    list its models, standard error says why, and the next step. --json prints one array of
    providers.
    """
    settings = context.settings
    context.check_endpoints()
    from timestep.cli.event_loop import run_without_waiting
    from timestep.cli.inventory import take_inventory
    from timestep.cli.listing import Listing

    found = Listing(run_without_waiting(take_inventory(settings, patience=timeout)), settings)
    if words:
        found.keep(words)
    if as_json:
        print_json(found.as_json())
    else:
        found.show()
        if not words:
            found.show_missing()
    if all(inventory.problem for inventory in found.inventories):
        raise click.exceptions.Exit(1)
