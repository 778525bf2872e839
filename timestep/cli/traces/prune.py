"""``timestep traces prune`` and ``verify``."""

import time

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.traces.record import open_record

_DAY = 86_400.0


@click.command()
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(0),
    help="Delete runs that began more than DAYS days ago; [traces] retention when left out.",
)
@click.option("--all", "everything", is_flag=True, help="Delete all runs.")
@pass_context
def prune(context: Context, *, older_than: float | None, everything: bool) -> None:
    """Delete old runs, with everything that was recorded of them."""
    days = 0.0 if everything else older_than
    if days is None:
        days = context.settings.traces.retention
        if not days:
            raise click.UsageError(
                "The configuration keeps all runs: say --older-than DAYS or --all."
            )
    with open_record(context) as store:
        count = store.prune(before=time.time() - days * _DAY)
    click.echo(f"Deleted {count} {'run' if count == 1 else 'runs'}.")


@click.command()
@pass_context
def verify(context: Context) -> None:
    """Check that the record is sound; exit code 1 when it is not."""
    with open_record(context) as store:
        problems = store.verify()
        for problem in problems:
            click.echo(problem)
        if problems:
            raise click.ClickException(f"{store.path} is not sound.")
        click.echo(f"{store.path} is sound.")
