"""``timestep traces search``: the steps that contain some words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.traces.format import (
    Column,
    ago,
    json_options,
    limit_option,
    new_table,
    open_record,
    print_results,
    short,
)

if TYPE_CHECKING:
    from rich.table import Table

    from timestep.traces import Hit


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
        lambda: _table(hits),
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"No step contains these words in {store.path}.",
    )


_COLUMNS = (
    Column("id"),
    Column("ago", is_figure=True, spare=1),
    Column("step", least=12),
    Column("text", least=16, wraps=True),
)


def _table(hits: "Sequence[Hit]") -> "Table":
    return new_table(
        _COLUMNS,
        [
            (short(hit.trace_id), ago(hit.ended_at), f"{hit.kind} {hit.name}", hit.excerpt)
            for hit in hits
        ],
    )
