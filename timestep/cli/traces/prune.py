"""``timestep traces prune``: delete old runs."""

import time

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.figures import DAY
from timestep.cli.traces.record import open_record


@click.command()
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(0),
    help="Delete runs that began more than DAYS days ago. Default: [traces] retention.",
)
@click.option("--all", "everything", is_flag=True, help="Delete all runs.")
@pass_context
def prune(context: Context, *, older_than: float | None, everything: bool) -> None:
    """Delete old runs, with all that was recorded of them."""
    days = 0.0 if everything else older_than
    if days is None:
        days = context.settings.traces.retention
        if not days:
            raise click.UsageError(
                "The configuration keeps all runs: write --older-than DAYS or --all."
            )
    with open_record(context) as store:
        count = store.prune(before=time.time() - days * DAY)
    click.echo(f"Deleted {count} {'run' if count == 1 else 'runs'}.")
