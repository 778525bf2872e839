"""``timestep traces stats``: count the calls of models, agents, tools and days."""

import time
from functools import partial
from typing import get_args

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.figures import DAY, duration, known
from timestep.cli.traces.record import open_record
from timestep.cli.traces.table import Column, json_options, print_results
from timestep.traces.statistics import By
from timestep.traces.summary import dollars


@click.command()
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="model",
    show_default=True,
    help="Group the calls by this.",
)
@click.option("--days", type=click.FloatRange(0), help="Only the last DAYS days.")
@json_options
@pass_context
def stats(context: Context, *, by: By, days: float | None, as_json: bool, as_lines: bool) -> None:
    """Show calls, errors, tokens and latency of every model, agent, tool or day.

    Replays do not count. A narrow terminal shows fewer columns; --json has them all.
    """
    with open_record(context) as store:
        found = store.stats(by, since=0.0 if days is None else time.time() - days * DAY)
    print_results(
        found,
        [
            Column(by, lambda stats: stats.name, wraps=True),
            _figure("calls", lambda stats: str(stats.calls)),
            _figure("errors", lambda stats: str(stats.errors), spare=2),
            *(() if by == "tool" else _TOKENS),
            *_TIMES,
        ],
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"No {'tool' if by == 'tool' else 'model'} was called in {store.path}.",
    )


_figure = partial(Column, is_figure=True)
_TOKENS = (
    _figure("in", lambda stats: f"{stats.input_tokens:,}", spare=6),
    _figure("out", lambda stats: f"{stats.output_tokens:,}", spare=5),
)
_TIMES = (
    _figure("p50", lambda stats: duration(stats.p50), spare=1),
    _figure("p90", lambda stats: duration(stats.p90), spare=8),
    _figure("p99", lambda stats: duration(stats.p99), spare=9),
    _figure("first", lambda stats: known(duration, stats.first_token_seconds), spare=7),
    _figure("tok/s", lambda stats: known("{:.1f}".format, stats.tokens_per_second), spare=3),
    _figure("cost", lambda stats: dollars(stats.cost), spare=4),
)
