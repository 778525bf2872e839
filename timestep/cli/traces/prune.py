"""``timestep traces prune`` and ``verify``."""

import time

import click

from timestep.cli.traces.record import Place

_DAY = 86_400.0


@click.command()
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(0),
    help="Delete runs that began more than DAYS days ago; [traces] retention when left out.",
)
@click.option("--all", "everything", is_flag=True, help="Delete all runs.")
@click.pass_obj
def prune(place: Place, *, older_than: float | None, everything: bool) -> None:
    """Delete old runs, with everything that was recorded of them."""
    days = 0.0 if everything else older_than
    if days is None:
        days = place.settings.traces.retention
        if not days:
            raise click.UsageError(
                "The configuration keeps all runs: say --older-than DAYS or --all."
            )
    with place.store() as store:
        count = store.prune(before=time.time() - days * _DAY)
    click.echo(f"Deleted {count} {'run' if count == 1 else 'runs'}.")


@click.command()
@click.pass_obj
def verify(place: Place) -> None:
    """Check that the record is sound; exit code 1 when it is not."""
    with place.store() as store:
        problems = store.verify()
        for problem in problems:
            click.echo(problem)
        if problems:
            raise click.ClickException(f"{store.path} is not sound.")
        click.echo(f"{store.path} is sound.")
