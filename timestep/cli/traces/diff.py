"""``timestep traces diff``: compare two runs."""

import click

from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.output import json_option, print_json
from timestep.cli.traces.record import open_record


@click.command()
@click.argument("left", metavar="ID", shell_complete=complete_trace)
@click.argument("right", metavar="ID", default="last", shell_complete=complete_trace)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the runs differ.")
@json_option
@pass_context
def diff(context: Context, *, left: str, right: str, exit_code: bool, as_json: bool) -> None:
    """Compare two runs, step by step. By default the second is the last run."""
    from timestep.cli.traces.runs import print_comparison
    from timestep.traces.export import view_diff
    from timestep.traces.summary import ending

    with open_record(context) as store:
        ours, theirs = store.get(left), store.get(right)
    compared = view_diff(ours, theirs)
    if as_json:
        print_json(compared)
    else:
        first, second = ending(ours), ending(theirs)
        ends = first.sentence("The first run"), second.sentence("The second run")
        print_comparison(ours, theirs, ends, is_same_end=first == second)
    if exit_code and not compared["same"]:
        raise click.exceptions.Exit(1)
