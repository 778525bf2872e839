"""The commands whose results are a table: ``list``, ``search`` and ``stats``."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from timestep.cli.completion import complete_recorded
from timestep.cli.context import Context, pass_context
from timestep.cli.options import model_option
from timestep.cli.output import clean, console, print_json, print_lines
from timestep.cli.traces.format import (
    DAY,
    ago,
    brief_cost,
    brief_count,
    brief_duration,
    duration,
    open_record,
    short,
)
from timestep.traces.records import OUTCOMES
from timestep.traces.statistics import By

if TYPE_CHECKING:
    from timestep.traces import Hit, Stats, Summary

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Result = TypeVar("_Result", "Summary", "Hit", "Stats")
_GAP = 2
_WRAPPED = 16
"""The width that a column which wraps may always be shortened to."""
_ID = 6
"""How many characters of an id a list shows."""


@dataclass(frozen=True)
class _Column:
    """A column of a table."""

    name: str
    is_figure: bool = False  # aligned to the right
    least: int | None = None  # the width that it may be shortened to; None if it never is
    spare: int = 0  # if shortening is not enough, the highest are left out first; 0 stays
    wraps: bool = False  # continued below instead of shortened


_limit_option = click.option(
    "-n",
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="The most results to show.",
)


def _json_options(command: _Command) -> _Command:
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
    as_lines = click.option(
        "--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line."
    )
    return as_json(as_lines(command))


@click.command("list")
@_limit_option
@model_option(shell_complete=complete_recorded, help="Only runs that called this model.")
@click.option(
    "--agent", metavar="NAME", shell_complete=complete_recorded, help="Only runs of this agent."
)
@click.option(
    "--tool",
    metavar="NAME",
    shell_complete=complete_recorded,
    help="Only runs that called this tool.",
)
@click.option("--group", metavar="ID", help="Only runs of this session or group.")
@click.option(
    "--errors/--no-errors",
    "failed",
    default=None,
    help="Only runs with failed steps, or without.",
)
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs with this outcome.")
@click.option("--running", is_flag=True, default=None, help="Only runs that have not ended.")
@click.option(
    "-q", "--query", "text", metavar="TEXT", help="Only runs with a step that contains these words."
)
@_json_options
@pass_context
def list_runs(
    context: Context, /, *, limit: int, as_json: bool, as_lines: bool, **wanted: Any
) -> None:
    """List recorded runs, newest first, with the runs of a session together."""
    from timestep.traces import Filter

    with open_record(context) as store:
        runs = store.traces(Filter(**wanted), limit=limit)
    is_filtered = any(value is not None for value in wanted.values())
    nothing = "There is no such run in {}." if is_filtered else "No run is recorded in {} yet."
    _print_results(
        runs if as_json or as_lines else _by_session(runs),
        _RUN_COLUMNS,
        _run_row,
        as_json=as_json,
        as_lines=as_lines,
        otherwise=nothing.format(store.path),
    )


_RUN_COLUMNS = (
    _Column("id"),
    _Column("ago", is_figure=True, spare=1),
    _Column("question", least=10),
    _Column("session", least=7, spare=5),
    _Column("agent", least=5, spare=4),
    _Column("model", least=14, spare=2),
    _Column("outcome"),
    _Column("time", is_figure=True, spare=3),
    _Column("tokens", is_figure=True, spare=6),
    _Column("cost", is_figure=True, spare=7),
)


def _run_row(run: "Summary") -> list[str]:
    return [
        short(run.trace_id)[:_ID],
        ago(run.started_at),
        run.title,
        run.group_id or "",
        _first(run.agents),
        _first(run.models),
        run.outcome,
        brief_duration(run.total_seconds),
        brief_count(run.input_tokens + run.output_tokens),
        brief_cost(run.cost),
    ]


def _by_session(runs: "Sequence[Summary]") -> "list[Summary]":
    """Return *runs* with the runs of a session together, at the place of the newest."""
    sessions: dict[str, list[Summary]] = {}
    for run in runs:
        sessions.setdefault(run.group_id or run.trace_id, []).append(run)
    return [run for session in sessions.values() for run in session]


def _first(names: Sequence[str]) -> str:
    """Return the first of *names*, and how many more there are."""
    head, *others = names or ("",)
    return f"{head} +{len(others)}" if others else head


@click.command()
@click.argument("words", metavar="TEXT...", nargs=-1, required=True)
@_limit_option
@_json_options
@pass_context
def search(
    context: Context, *, words: tuple[str, ...], limit: int, as_json: bool, as_lines: bool
) -> None:
    """Find the steps that contain all words of TEXT, newest first."""
    with open_record(context) as store:
        hits = store.search(" ".join(words), limit=limit)
    _print_results(
        hits,
        _HIT_COLUMNS,
        lambda hit: [short(hit.trace_id), ago(hit.ended_at), f"{hit.kind} {hit.name}", hit.excerpt],
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"No step contains these words in {store.path}.",
    )


_HIT_COLUMNS = (
    _Column("id"),
    _Column("ago", is_figure=True, spare=1),
    _Column("step", least=12),
    _Column("text", least=_WRAPPED, wraps=True),
)


@click.command()
@click.option(
    "--by",
    type=click.Choice(get_args(By)),
    default="model",
    show_default=True,
    help="Group the calls by this.",
)
@click.option("--days", type=click.FloatRange(0), help="Only the last DAYS days.")
@_json_options
@pass_context
def stats(context: Context, *, by: By, days: float | None, as_json: bool, as_lines: bool) -> None:
    """Show calls, errors, tokens and latency of every model, agent, tool or day.

    Replays do not count. A narrow terminal shows fewer columns; --json has them all.
    """
    with open_record(context) as store:
        found = store.stats(by, since=0.0 if days is None else time.time() - days * DAY)
    _print_results(
        found,
        [_Column(by, wraps=True), *_FIGURES],
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
_FIGURES = [_Column(name, is_figure=True, spare=spare) for name, spare in _SPARES.items()]


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


def _print_results(
    results: Sequence[_Result],
    columns: Sequence[_Column],
    row: Callable[[_Result], Sequence[str]],
    *,
    as_json: bool,
    as_lines: bool,
    otherwise: str,
) -> None:
    """Print *results* in the form that was asked for, and *otherwise* if there are none."""
    from timestep.traces.export import plain

    if as_json:
        print_json([plain(result) for result in results])
    elif as_lines:
        print_lines(plain(result) for result in results)
    elif results:
        is_red = [getattr(result, "outcome", "") == "failed" for result in results]
        _print_table(columns, [[clean(cell) for cell in row(each)] for each in results], is_red)
    else:
        click.echo(otherwise, err=True)


def _print_table(
    columns: Sequence[_Column], rows: Sequence[Sequence[str]], is_red: Sequence[bool]
) -> None:
    """Print *rows* as a table that fits the console. A column without any text is left out."""
    from rich.cells import cell_len
    from rich.table import Table

    wanted = {
        column: max(cell_len(cell) for cell in (column.name, *cells))
        for column, cells in zip(columns, zip(*rows, strict=True), strict=True)
        if any(cells)
    }
    widths, gap = _fitted(wanted, console().width)
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
    for column, width in widths.items():
        table.add_column(
            column.name,
            justify="right" if column.is_figure else "left",
            width=width,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row, red in zip(rows, is_red, strict=True):
        cells = [cell for column, cell in zip(columns, row, strict=True) if column in widths]
        table.add_row(*cells, style="red" if red else None)
    console().print(table)


def _fitted(wanted: dict[_Column, int], room: int) -> tuple[dict[_Column, int], int]:
    """Return the width of each column that has room, and of the gaps between them."""
    widths = dict(wanted)
    least = {c: size if c.least is None else min(size, c.least) for c, size in wanted.items()}

    def excess(sizes: dict[_Column, int], gap: int) -> int:
        return sum(sizes[column] + gap for column in widths) - gap - room

    while excess(least, 1) > 0 and any(column.spare for column in widths):
        del widths[max(widths, key=lambda column: column.spare)]
    gap = _GAP if excess(widths, _GAP) <= 0 else 1
    least |= {column: min(size, _WRAPPED) for column, size in widths.items() if column.wraps}
    while excess(widths, gap) > 0:
        column = max(widths, key=lambda column: widths[column] - least[column])
        if widths[column] == least[column]:
            break
        widths[column] -= 1
    return widths, gap
