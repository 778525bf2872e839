"""``timestep traces stats``: calls, errors, tokens and latency of every model."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.output import clean
from timestep.cli.traces.format import DAY, duration, json_options, new_table, print_results
from timestep.cli.traces.record import open_record

if TYPE_CHECKING:
    from rich.table import Table

    from timestep.traces import ModelStats


@click.command()
@click.option("--days", type=click.FloatRange(0), help="Only the last DAYS days.")
@json_options
@pass_context
def stats(context: Context, *, days: float | None, as_json: bool, as_lines: bool) -> None:
    """Show calls, errors, tokens and latency of every model."""
    with open_record(context) as store:
        models = store.stats(since=0.0 if days is None else time.time() - days * DAY)
    print_results(
        models,
        lambda: _table(models),
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"No model was called in {store.path}.",
    )


def _table(models: "Sequence[ModelStats]") -> "Table":
    from timestep.traces.summary import dollars

    table = new_table(
        "model", "calls", "errors", "in", "out", "p50", "p90", "p99", "first", "tok/s", "cost"
    )
    for model in models:
        speed = model.tokens_per_second
        table.add_row(
            clean(model.model),
            str(model.calls),
            str(model.errors),
            f"{model.input_tokens:,}",
            f"{model.output_tokens:,}",
            *(duration(seconds) for seconds in (model.p50, model.p90, model.p99)),
            "" if model.first_token_seconds is None else duration(model.first_token_seconds),
            "" if speed is None else f"{speed:.1f}",
            dollars(model.cost),
        )
    return table
