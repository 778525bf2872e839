"""The options, words and tables that the ``traces`` commands share."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from timestep.cli.context import Context
from timestep.cli.output import clean, console, print_json, print_lines

if TYPE_CHECKING:
    from rich.table import Table

    from timestep.traces import TraceStore


_Command = TypeVar("_Command", bound=Callable[..., Any])
DAY = 86_400.0
_MINUTE = 60
_HOUR = 60 * _MINUTE
_GAP = 2
_THOUSAND = 1000
_MILLION = 1_000_000
_CENT = 0.01
_AGES = ((365 * DAY, "y"), (7 * DAY, "w"), (DAY, "d"), (_HOUR, "h"), (_MINUTE, "m"))


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


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its heading.
        is_figure: Whether it is aligned to the right.
        least: The width that it may be shortened to; None if it is never shortened.
        rank: Columns without room are left out, the highest rank first. 0 always stays.
        spare: If shortening is not enough, columns are left out, the highest first. 0 stays.
        wraps: Whether it is continued below instead of shortened.
    """

    name: str
    is_figure: bool = False
    least: int | None = None
    rank: int = 0
    spare: int = 0
    wraps: bool = False


def new_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, is_red: Sequence[bool] = ()
) -> "Table":
    """Return *rows* as a table that fits the console. A column without any text is left out.

    Args:
        columns: From left to right.
        rows: A text for each column.
        is_red: For each row, whether it is red.
    """
    from rich.cells import cell_len
    from rich.table import Table

    texts = [[clean(cell) for cell in row] for row in rows]
    wanted = {
        column: max(cell_len(cell) for cell in (column.name, *cells))
        for column, cells in zip(columns, zip(*texts, strict=True), strict=True)
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
    for text, red in zip_longest(texts, is_red):
        cells = [cell for column, cell in zip(columns, text, strict=True) if column in widths]
        table.add_row(*cells, style="red" if red else None)
    return table


def _fitted(wanted: dict[Column, int], room: int) -> tuple[dict[Column, int], int]:
    """Return the width of each column that has room, and of the gaps between them."""
    widths = dict(wanted)

    def excess(gap: int) -> int:
        return sum(widths.values()) + gap * (len(widths) - 1) - room

    while excess(_GAP) > 0 and any(column.rank for column in widths):
        del widths[max(widths, key=lambda column: column.rank)]
    gap = _GAP if excess(_GAP) <= 0 else 1
    while excess(gap) > 0:
        spare = {c: width - c.least for c, width in widths.items() if c.least is not None}
        column = max(spare, key=lambda column: spare[column], default=None)
        if column is None or spare[column] <= 0:
            return _without_spare(wanted, widths, gap, room)
        widths[column] -= 1
    return widths, gap


def _without_spare(
    wanted: dict[Column, int], widths: dict[Column, int], gap: int, room: int
) -> tuple[dict[Column, int], int]:
    """Fit *wanted* without its most spare column. *widths* and *gap* stay if all are needed."""
    column = max(wanted, key=lambda column: column.spare)
    if not column.spare:
        return widths, gap
    return _fitted({c: width for c, width in wanted.items() if c != column}, room)


def short(trace_id: str) -> str:
    """Return the part of a trace id that people type."""
    return clean(trace_id).removeprefix("trace_")[:10]


def clock(at: float) -> str:
    """Return the Unix time *at* as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def ago(at: float) -> str:
    """Return how long ago the Unix time *at* is, in the largest unit: ``3m``, ``2h``, ``5d``."""
    seconds = max(0.0, time.time() - at)
    return next(
        (f"{seconds // unit:.0f}{sign}" for unit, sign in _AGES if seconds >= unit),
        f"{seconds:.0f}s",
    )


def brief_duration(seconds: float | None) -> str:
    """Return *seconds* in few letters: ``0.9s``, ``12s``, ``3m``, ``2h``."""
    if seconds is None:
        return "…"
    if seconds >= _HOUR:
        return f"{seconds // _HOUR:.0f}h"
    if seconds >= _MINUTE:
        return f"{seconds // _MINUTE:.0f}m"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"  # noqa: PLR2004 - of one digit


def brief_count(count: int) -> str:
    """Return *count* in few letters: ``999``, ``1.2k``, ``12k``, ``3.4M``."""
    if count < _THOUSAND:
        return str(count)
    if count < _MILLION:
        thousands = count / _THOUSAND
        return f"{thousands:.1f}k" if thousands < 10 else f"{thousands:.0f}k"  # noqa: PLR2004 - as above
    return f"{count / _MILLION:.1f}M"


def brief_cost(cost: float | None) -> str:
    """Return *cost* in US dollars in few letters: ``<1¢``, ``$0.12``; empty when it is not known."""
    if cost is None:
        return ""
    return "<1¢" if 0 < cost < _CENT else f"${cost:,.2f}"


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


def record_file(context: Context) -> Path:
    """Return the path of the record: that of ``--file``, or the configured one."""
    return context.trace_file or context.settings.traces.file


@contextmanager
def open_record(context: Context) -> "Generator[TraceStore]":
    """Open the record for the block."""
    from timestep.traces import StoreError, TraceStore

    path = record_file(context)
    if context.trace_file is not None:
        _check_file(path)
    try:
        with TraceStore(path) as store:
            yield store
    except StoreError as exc:
        raise click.ClickException(str(exc)) from exc


def _check_file(path: Path) -> None:
    try:
        exists = path.exists()
    except OSError as exc:  # such as a name that is too long
        raise click.UsageError(f"--file cannot be read: {exc.strerror}.") from exc
    if not exists:
        raise click.UsageError(f"{path} does not exist; correct --file, or leave it out.")
