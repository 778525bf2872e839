"""The input of a batch. It is checked before anything is sent, and read again while lines are asked."""

import csv
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from timestep.batch import Defaults, Line, Output

_SHOWN = 10
"""How many lines a message names."""


@contextmanager
def readable(source: Path) -> Generator[Path]:
    """Yield a file that can be read twice: *source*, or a copy of standard input."""
    if str(source) != "-":
        yield source
        return
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)


def check_lines(path: Path, defaults: "Defaults") -> "tuple[int, set[str | None]]":
    """Return how many lines the input has, and the models they name.

    Raises:
        UsageError: Some lines cannot be asked; the message names them.
    """
    from timestep.batch import BadLine, read_file

    count = 0
    names: set[str | None] = set()
    bad: list[BadLine] = []
    for line in _read(read_file(path, defaults), path):
        count += 1
        if isinstance(line, BadLine):
            bad.append(line)
        else:
            names.add(line.question.model)
    if bad:
        shown = [f"line {line.number}: {line.reason}" for line in bad[:_SHOWN]]
        if len(bad) > _SHOWN:
            shown.append(f"and {len(bad) - _SHOWN:,} more")
        raise click.UsageError("\n".join(["Nothing was sent, because of", *shown]))
    return count, names


def _read(lines: Iterator[Any], path: Path) -> Iterator[Any]:
    """Yield *lines*, and explain what goes wrong while the file at *path* is read."""
    try:
        yield from lines
    except OSError as exc:
        raise click.UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        if "field limit" in str(exc):
            most = f"{csv.field_size_limit():,}"
            raise click.UsageError(
                f"{path} has a field of more than {most} characters, which CSV cannot hold here. "
                "Write it as JSON lines."
            ) from exc
        raise click.UsageError(f"{path} is not CSV in UTF-8: {exc}.") from exc


def waiting_lines(
    path: Path, defaults: "Defaults", output: "Output", limit: int | None
) -> Iterator["Line"]:
    """Return the lines without a row, at most *limit* of them."""
    from timestep.batch import Line, read_file

    waiting = (
        line
        for line in read_file(path, defaults)
        if isinstance(line, Line) and not output.has(line)
    )
    return islice(waiting, limit)


def refuse_changed(path: Path, defaults: "Defaults", output: "Output") -> None:
    """Refuse lines that changed after they got their row.

    Raises:
        UsageError: There are some; the message names them.
    """
    from timestep.batch import Line, read_file

    if not output.done_before + output.failed_before:
        return
    changed = [
        line.number
        for line in read_file(path, defaults)
        if isinstance(line, Line) and output.has_changed(line)
    ]
    if changed:
        numbers = ", ".join(map(str, changed[:_SHOWN])) + (" …" if changed[_SHOWN:] else "")
        raise click.UsageError(
            f"Lines have changed since they got a row in {output.path}: {numbers}. Give OUT "
            "another name, or delete those rows."
        )
