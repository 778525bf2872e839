"""``timestep traces tail``: show steps as they end."""

import time
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.figures import clock, duration, tokens
from timestep.cli.output import clean, print_lines
from timestep.cli.traces.record import open_record, short

if TYPE_CHECKING:
    from timestep.traces import Span


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
