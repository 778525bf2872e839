"""The options, words and tables that the ``traces`` commands share."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from timestep.cli.output import clean, console, print_json, print_lines

if TYPE_CHECKING:
    from rich.table import Table

_Command = TypeVar("_Command", bound=Callable[..., Any])
DAY = 86_400.0
_MINUTE = 60
_LEFT = {"id", "began", "ended", "name", "agents", "models", "model", "step", "text"}
_NEVER_WRAPPED = {"id", "began", "ended"}


def json_options(command: _Command) -> _Command:
    """Add ``--json`` and ``--jsonl`` to *command*."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
    as_lines = click.option(
        "--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line."
    )
    return as_json(as_lines(command))


limit_option = click.option(
    "-n",
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="The most results to show.",
)
"""``--limit`` of a command that lists."""


def print_results(
    results: Sequence[Any],
    table: "Callable[[], Table]",
    *,
    as_json: bool,
    as_lines: bool,
    otherwise: str,
) -> None:
    """Print *results* in the form that was asked for.

    Args:
        results: Objects that `timestep.traces.export.plain` turns into JSON.
        table: Makes the table for people.
        as_json: Print one JSON array.
        as_lines: Print one JSON value per line.
        otherwise: The message for people if there are no results; goes to stderr.
    """
    from timestep.traces.export import plain

    if as_json:
        print_json([plain(result) for result in results])
    elif as_lines:
        print_lines(plain(result) for result in results)
    elif results:
        console().print(table())
    else:
        click.echo(otherwise, err=True)


def new_table(*columns: str) -> "Table":
    """Return an empty table with *columns*; those of figures are aligned to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        is_left = column in _LEFT
        table.add_column(
            column,
            justify="left" if is_left else "right",
            no_wrap=not is_left or column in _NEVER_WRAPPED,
        )
    return table


def short(trace_id: str) -> str:
    """Return the part of a trace id that people type."""
    return clean(trace_id).removeprefix("trace_")[:10]


def clock(at: float) -> str:
    """Return the Unix time *at* as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def duration(seconds: float | None) -> str:
    """Return *seconds* for people."""
    if seconds is None:
        return "…"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE)} min {seconds % _MINUTE:.0f} s"


def tokens(given: int | None, made: int | None) -> str:
    """Return the input and output tokens for people."""
    return "" if given is None and made is None else f"{given or 0:,} → {made or 0:,} tokens"
