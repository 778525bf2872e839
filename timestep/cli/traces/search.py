"""``timestep traces search``: find steps by their words."""

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.figures import ago
from timestep.cli.traces.record import open_record, short
from timestep.cli.traces.table import WRAPPED, Column, json_options, limit_option, print_results


@click.command()
@click.argument("words", metavar="TEXT...", nargs=-1, required=True)
@limit_option
@json_options
@pass_context
def search(
    context: Context, *, words: tuple[str, ...], limit: int, as_json: bool, as_lines: bool
) -> None:
    """Find the steps that contain all words of TEXT, newest first."""
    with open_record(context) as store:
        hits = store.search(" ".join(words), limit=limit)
    print_results(
        hits,
        _HIT_COLUMNS,
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"No step contains these words in {store.path}.",
    )


_HIT_COLUMNS = (
    Column("id", lambda hit: short(hit.trace_id)),
    Column("ago", lambda hit: ago(hit.ended_at), is_figure=True, spare=1),
    Column("step", lambda hit: f"{hit.kind} {hit.name}", least=12),
    Column("text", lambda hit: hit.excerpt, least=WRAPPED, wraps=True),
)
