"""Prints results: JSON for programs; rows, tables and asides for people."""

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from timestep.cli.terminal import printable
from timestep.traces.text import json_text

if TYPE_CHECKING:
    from rich.console import Console

_Command = TypeVar("_Command", bound=Callable[..., Any])
_WIDE = 200
_GAP = "  "
_NARROW = 20
_UNIT = re.compile(r"(?<=\d) (?=\S)")
"""The space between a number and its unit, where no line breaks."""
_THOUSAND = 1000


def json_option(command: _Command) -> _Command:
    """Add ``--json`` to *command*."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")(command)


def print_json(value: Any) -> None:
    """Print *value* as indented JSON."""
    click.echo(json_text(value, indent=2))


def print_lines(values: Iterable[Any], file: TextIO | None = None) -> None:
    """Print each of *values* as one line of JSON, to *file* or stdout."""
    for value in values:
        click.echo(json_text(value), file=file)


def console() -> "Console":
    """Return a console on stdout: as wide as the terminal; wide and plain in a pipe."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    return Console(
        width=None if is_terminal else _WIDE,
        no_color=not is_terminal or None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_rows(rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """Print *rows* as columns, with the first cell of each row in bold.

    If the terminal is too narrow for the columns, the other cells go on lines below the first.
    """
    from rich.cells import cell_len, set_cell_size

    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf
    is_wide = len(indent) + sum(widths) + len(_GAP) * (len(widths) - 1) <= room
    for first, *others in cells:
        if is_wide:
            padded = _GAP.join(map(set_cell_size, [first, *others], widths)).rstrip()
            click.echo(indent + click.style(first, bold=True) + padded.removeprefix(first))
            continue
        click.echo(indent + click.style(first, bold=True))
        below = indent + _GAP * 2
        text = _UNIT.sub("\xa0", _GAP.join(filter(None, others)))
        for line in textwrap.wrap(
            text, max(int(room) - len(below), _NARROW), break_long_words=False
        ):
            click.echo(below + line.replace("\xa0", " "))


def print_aside(text: str, *, indent: str = "", dim: bool = False) -> None:
    """Print *text* on stderr. A terminal shows it wrapped, and dimmed if it can."""
    text = clean(text)
    if sys.stderr.isatty():
        room = max(shutil.get_terminal_size().columns, _NARROW)
        text = textwrap.fill(
            text, room, subsequent_indent=indent, initial_indent=indent, break_long_words=False
        )
    else:
        text = indent + text
    click.echo(click.style(text, dim=True) if dim else text, err=True)


def clean(text: str) -> str:
    """Return *text* on one line, without control characters."""
    return printable(" ".join(text.split()))


def file_size(count: int) -> str:
    """Return *count* bytes for people, in decimal units as Ollama shows them."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _THOUSAND:
            return f"{amount:.3g} {unit}"
        amount /= _THOUSAND
    return f"{amount:.3g} TB"
