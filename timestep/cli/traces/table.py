"""The tables that ``list``, ``search`` and ``stats`` print, and the options that they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from timestep.cli.output import clean, console, print_json, print_lines

if TYPE_CHECKING:
    from timestep.traces import Hit, Stats, Summary

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Result = TypeVar("_Result", "Summary", "Hit", "Stats")
_GAP = 2
WRAPPED = 16
"""The width that a column which wraps may always be shortened to."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    cell: Callable[[Any], str]  # the text for a result
    is_figure: bool = False  # aligned to the right
    least: int | None = None  # the width that it may be shortened to; None if it never is
    spare: int = 0  # if shortening is not enough, the highest are left out first; 0 stays
    wraps: bool = False  # continued below instead of shortened


limit_option = click.option(
    "-n",
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="The most results to show.",
)


def json_options(command: _Command) -> _Command:
    """Add the options for results as JSON."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
    as_lines = click.option(
        "--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line."
    )
    return as_json(as_lines(command))


def print_results(
    results: Sequence[_Result],
    columns: Sequence[Column],
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
        rows = [[clean(column.cell(each)) for column in columns] for each in results]
        _print_table(columns, rows, is_red)
    else:
        click.echo(otherwise, err=True)


def _print_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], is_red: Sequence[bool]
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


def _fitted(wanted: dict[Column, int], room: int) -> tuple[dict[Column, int], int]:
    """Return the width of each column that has room, and of the gaps between them."""
    widths = dict(wanted)
    least = {c: size if c.least is None else min(size, c.least) for c, size in wanted.items()}

    def excess(sizes: dict[Column, int], gap: int) -> int:
        return sum(sizes[column] + gap for column in widths) - gap - room

    while excess(least, 1) > 0 and any(column.spare for column in widths):
        del widths[max(widths, key=lambda column: column.spare)]
    gap = _GAP if excess(widths, _GAP) <= 0 else 1
    least |= {column: min(size, WRAPPED) for column, size in widths.items() if column.wraps}
    while excess(widths, gap) > 0:
        column = max(widths, key=lambda column: widths[column] - least[column])
        if widths[column] == least[column]:
            break
        widths[column] -= 1
    return widths, gap
