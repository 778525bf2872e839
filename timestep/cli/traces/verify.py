"""``timestep traces verify``: check that the record is sound."""

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.traces.record import open_record


@click.command()
@pass_context
def verify(context: Context) -> None:
    """Check that the record is sound; the exit code is 1 if it is not."""
    with open_record(context) as store:
        problems = store.verify()
        for problem in problems:
            click.echo(problem)
        if problems:
            raise click.ClickException(f"{store.path} is not sound.")
        click.echo(f"{store.path} is sound.")
