"""``timestep traces``: see what agents did, from the record on this machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.commands import Group
from timestep.cli.context import Context, configuration_options, keep_option, pass_context
from timestep.cli.output import clean, print_lines
from timestep.cli.traces.diff import diff
from timestep.cli.traces.export import export
from timestep.cli.traces.format import DAY, clock, duration, open_record, short, tokens
from timestep.cli.traces.replay import replay
from timestep.cli.traces.show import show
from timestep.cli.traces.tables import list_runs, search, stats
from timestep.net.extras import install_hint

if TYPE_CHECKING:
    from timestep.traces import Span


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


@click.command()
@click.option(
    "-p",
    "--port",
    default=5318,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port on 127.0.0.1; 0 for any free one.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open a browser too.")
@pass_context
def serve(context: Context, *, port: int, is_opened: bool) -> None:
    """Show runs in a browser: a list with search, live updates, conversations, comparisons.

    Only this machine can open the page. Ctrl-C ends it.
    """
    try:
        from timestep.traces.viewer.app import serve as run_server
    except ModuleNotFoundError as exc:
        raise click.ClickException(
            f"The viewer needs the package {exc.name}. {install_hint('web')}"
        ) from exc

    def tell(url: str) -> None:
        click.echo(f"Runs are shown at {url} until Ctrl-C.")
        if is_opened:
            click.launch(url)

    with open_record(context) as store:
        try:
            run_server(store, port, on_start=tell)
        except OSError as exc:
            raise click.ClickException(
                f"Port {port} cannot be used: {exc.strerror}. Name another with --port."
            ) from exc


_SECONDS_BETWEEN_LOOKS = 0.2


@click.command()
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line.")
@pass_context
def tail(context: Context, *, as_lines: bool) -> None:
    """Show steps as they end, until Ctrl-C."""
    from timestep.traces.export import plain

    with open_record(context) as store:
        cursor = store.cursor()
        click.echo(f"Waiting for runs in {store.path} …", err=True)
        for span in store.follow(cursor, pause=lambda: time.sleep(_SECONDS_BETWEEN_LOOKS)):
            if span.ended_at is None:
                continue
            if as_lines:
                print_lines([plain(span)])
            else:
                click.echo(_line(span))


def _line(span: "Span") -> str:
    from timestep.traces.summary import headline

    parts = [clock(span.ended_at or span.started_at), short(span.trace_id), f"{span.kind:<10}"]
    failed = click.style("failed", fg="red") if span.error else ""
    measures = [duration(span.total_seconds), tokens(span.input_tokens, span.output_tokens), failed]
    text = clean(headline(span))
    return "  ".join([*parts, text, *(measure for measure in measures if measure)])


@click.group(cls=Group)
@click.option(
    "--file",
    "trace_file",
    expose_value=False,
    callback=keep_option,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read this record instead of the configured one.",
)
@configuration_options
def traces(context: Context) -> None:
    """See what agents did.

    An ID can be shortened to its beginning. "last" is the last run, "last-1" the one before it.
    """


for command in (list_runs, show, tail, search, stats, export, replay, diff, serve, prune, verify):
    traces.add_command(command)
