"""``timestep traces stats``: count the calls of models, agents, tools and days."""

import time
from typing import TYPE_CHECKING, get_args

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.traces.format import DAY, duration, open_record
from timestep.cli.traces.table import Column, json_options, print_results
from timestep.traces.statistics import By

if TYPE_CHECKING:
    from timestep.traces import Stats


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
        [Column(by, wraps=True), *_FIGURES],
        lambda stats: _stats_row(stats, has_tokens=by != "tool"),
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"No {'tool' if by == 'tool' else 'model'} was called in {store.path}.",
    )


_SPARES = {
    "calls": 0,
    "errors": 2,
    "in": 6,
    "out": 5,
    "p50": 1,
    "p90": 8,
    "p99": 9,
    "first": 7,
    "tok/s": 3,
    "cost": 4,
}
_FIGURES = [Column(name, is_figure=True, spare=spare) for name, spare in _SPARES.items()]


def _stats_row(stats: "Stats", *, has_tokens: bool) -> list[str]:
    from timestep.traces.summary import dollars

    speed, first = stats.tokens_per_second, stats.first_token_seconds
    return [
        stats.name,
        str(stats.calls),
        str(stats.errors),
        f"{stats.input_tokens:,}" if has_tokens else "",
        f"{stats.output_tokens:,}" if has_tokens else "",
        *(duration(seconds) for seconds in (stats.p50, stats.p90, stats.p99)),
        "" if first is None else duration(first),
        "" if speed is None else f"{speed:.1f}",
        dollars(stats.cost),
    ]
