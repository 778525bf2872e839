"""Prints results: JSON for programs; rows, tables and asides for people."""

import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from timestep.cli.terminal import is_colourful, printable, width
from timestep.net.nearest import nearest
from timestep.traces.text import json_text

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
_WIDE = 200
_GAP = "  "
_NARROW = 20
_USUAL = 80
_LONGEST_FIRST = 28
"""The most columns that the first cell of a row on one line leaves for all others."""


def print_json(value: Any) -> None:
    """Print *value* as indented JSON."""
    click.echo(json_text(value, indent=2))


def print_lines(values: Iterable[Any], file: TextIO | None = None) -> None:
    """Print each of *values* as one line of JSON, to *file* or stdout."""
    for value in values:
        click.echo(json_text(value), file=file)


def write_file(path: Path, text: str, *, is_new: bool = False) -> None:
    """Write *text*, in which names of files may hold any byte, to the file at *path*."""
    try:
        with path.open("x" if is_new else "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError as exc:
        raise click.ClickException(f"{path} exists already, and was not changed.") from exc
    except OSError as exc:
        raise click.ClickException(f"{path} cannot be written: {exc.strerror}.") from exc


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


def print_rows(rows: Sequence[Sequence[str]], *, indent: str = "", one_line: bool = False) -> None:
    """Print *rows* as columns, with the first cell of each row in bold.

    If the terminal is too narrow for the columns, the other cells go on lines below the first. With
    *one_line*, terminals of 80 columns and more cut the end of a row instead.
    """
    from rich.cells import cell_len, set_cell_size

    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf
    is_wide = len(indent) + sum(widths) + len(_GAP) * (len(widths) - 1) <= room
    is_one_line = is_wide or (one_line and room >= _USUAL)
    if is_one_line and not is_wide:
        widths[0] = min(widths[0], _LONGEST_FIRST)
    for first, *others in cells:
        if is_one_line:
            padded = _GAP.join(
                cell + " " * (size - cell_len(cell))
                for cell, size in zip([first, *others], widths, strict=True)
            ).rstrip()
            most = room - len(indent)
            is_cut = cell_len(padded) > most
            line = f"{set_cell_size(padded, int(most) - 1).rstrip()}…" if is_cut else padded
            rest = line.removeprefix(first)
            click.echo(indent + (line if rest == line else click.style(first, bold=True) + rest))
            continue
        click.echo(indent + click.style(first, bold=True))
        below = indent + _GAP * 2
        text, most = _GAP.join(filter(None, others)), max(int(room) - len(below), _NARROW)
        for line in textwrap.wrap(text, most, break_long_words=False):
            click.echo(below + line)


def print_wrapped(text: str, *, below: int = 0, fg: str | None = None) -> None:
    """Print *text* on stdout. A terminal shows it wrapped, later lines after *below* spaces."""
    if sys.stdout.isatty():
        text = _wrapped(text, below=" " * below)
    click.echo(click.style(text, fg=fg))


def print_aside(text: str, *, indent: str = "", dim: bool = False) -> None:
    """Print *text* on stderr. A terminal shows it wrapped, and dimmed if it can."""
    text = clean(text)
    text = _wrapped(text, indent, indent) if sys.stderr.isatty() else indent + text
    click.echo(click.style(text, dim=True) if dim else text, err=True)


@contextmanager
def progress_bar(total: int) -> Generator[Callable[[Callable[[], str]], None]]:
    """Yield what moves a bar by a step and shows some words; without a terminal it does nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console
    from rich.markup import escape

    columns = (
        progress.BarColumn(20),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[now]}"),
        progress.TimeRemainingColumn(),
    )
    screen = Console(stderr=True)
    with progress.Progress(*columns, console=screen, redirect_stdout=False, transient=True) as bar:
        task = bar.add_task("", total=total, now="")
        yield lambda words: bar.update(task, advance=1, now=escape(clean(words())))


def print_error(text: str) -> None:
    """Print *text* on stderr as an error. A terminal shows it wrapped, with a colour."""
    lines = [printable(line) for line in f"Error: {text}".split("\n")]
    if sys.stderr.isatty():
        lines = [_wrapped(line) for line in lines]
        lines[0] = click.style("Error:", fg="red", bold=True) + lines[0].removeprefix("Error:")
    click.echo("\n".join(lines), err=True, color=None if is_colourful() else False)


def _wrapped(line: str, indent: str = "", below: str = "") -> str:
    # Commands and addresses stay whole, so that they can be copied.
    return textwrap.fill(
        line,
        max(width(), _NARROW),
        initial_indent=indent,
        subsequent_indent=below,
        break_long_words=False,
        break_on_hyphens=False,
    )


def clean(text: str) -> str:
    """Return *text* on one line, without control characters."""
    return printable(" ".join(text.split()))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the one of the *known* names that is close to *name*, or nothing."""
    near = nearest(name, known)
    return f" Did you mean {near}?" if near else ""
