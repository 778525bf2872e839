"""The input of a batch, and the options about its rates. Lines are checked before anything is sent, and read again while they are asked."""

import csv
import shutil
import sys
import tempfile
from array import array
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from timestep.batch.lines import BadLine, Defaults, Line, read_file, read_lines
from timestep.batch.loop import Rate
from timestep.batch.output import Output

_SHOWN = 10
"""How many lines a message names."""

_PARTS = 16
"""In how many parts ids are compared."""


@contextmanager
def readable(path: Path) -> Generator[Path]:
    """Yield a file that can be read twice: *path*, or a copy of a pipe, which ``-`` is too."""
    if str(path) != "-" and not path.is_fifo():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        try:
            with (
                path.open("rb") if path.is_fifo() else nullcontext(sys.stdin.buffer) as pipe,
                copy.open("wb") as file,
            ):
                shutil.copyfileobj(pipe, file)
        except OSError as exc:
            raise click.UsageError(
                f"{path} cannot be copied to {tempfile.gettempdir()}: {exc.strerror}. Make room "
                "there, or name another folder in TMPDIR."
            ) from exc
        yield copy


class Source:
    """The lines of the file at *path*, which are checked here.

    Attributes:
        models: The names of models in the lines, each with the number of its first line.
        has_changed: True when the file was read again and had lost or changed lines.
    """

    def __init__(self, path: Path, defaults: Defaults) -> None:
        self._path, self._defaults = path, defaults
        self._ids = array("q")  # their hashes, as a long input has too many for their texts
        self.models: dict[str | None, int] = {}
        self.has_changed = False
        bad: list[BadLine] = []
        for line in _explained(path, read_lines(path, defaults)):
            if isinstance(line, BadLine):
                bad.append(line)
            else:
                self._ids.append(hash(line.custom_id))
                self.models.setdefault(line.question.model, line.number)
        if not _are_unique(self._ids):
            bad = [line for line in read_file(path, defaults) if isinstance(line, BadLine)]
        if bad:
            shown = [f"line {line.number}: {line.reason}" for line in bad[:_SHOWN]]
            if len(bad) > _SHOWN:
                shown.append(f"and {len(bad) - _SHOWN:,} more")
            raise click.UsageError("\n".join(["Nothing was sent. These lines are wrong:", *shown]))

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self._ids)

    def __iter__(self) -> Iterator[Line]:
        """Read the lines again, up to a place where they have changed. Lines added since are not read."""
        lines = _explained(self._path, read_lines(self._path, self._defaults))
        for checked in self._ids:
            line = next(lines, None)
            if not isinstance(line, Line) or hash(line.custom_id) != checked:
                self.has_changed = True
                return
            yield line

    def refuse_changed(self, output: Output) -> None:
        """Refuse lines that changed after they got their row in *output*."""
        if not output.done_before + output.failed_before:
            return
        changed = [line.number for line in self if output.has_changed(line)]
        if changed:
            numbers = ", ".join(map(str, changed[:_SHOWN])) + (" …" if changed[_SHOWN:] else "")
            raise click.UsageError(
                f"Lines, or their model, schema or agent, have changed since they got a row in "
                f"{output.path}: {numbers}. Give OUT another name, delete those rows, or "
                "add --retry-errors if they failed."
            )


def _are_unique(ids: "array[int]") -> bool:
    """True when no two of *ids* are equal. A set of all would need a lot of memory."""
    for rest in range(_PARTS):
        part = [each for each in ids if each % _PARTS == rest]
        if len(set(part)) < len(part):
            return False
    return True


def _explained(path: Path, lines: Iterator[Line | BadLine]) -> Iterator[Line | BadLine]:
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


def read_rates(requests: tuple[str, ...], tokens: tuple[str, ...]) -> dict[str, Rate]:
    """Return the limits that ``--rate`` and ``--token-rate`` set, by prefix."""
    found: dict[str, Rate] = {}
    for text in requests:
        prefix, number = _rate(text, "--rate")
        found[prefix] = Rate(requests=number)
    for text in tokens:
        prefix, number = _rate(text, "--token-rate")
        found.setdefault(prefix, Rate()).tokens = number
    each = found.get("", Rate())
    for rate in found.values():
        rate.requests = rate.requests or each.requests
        rate.tokens = rate.tokens or each.tokens
    return found


def refuse_unused(rates: Iterable[str], prefixes: Collection[str]) -> None:
    """Refuse a prefix in *rates* that is not in *prefixes*, because it would limit nothing."""
    for prefix in rates:
        if prefix and prefixes and prefix not in prefixes:
            places = ", ".join(sorted(prefixes))
            raise click.BadParameter(
                f"no line goes to {prefix!r}; the lines go to {places}",
                param_hint="--rate or --token-rate",
            )


def _rate(text: str, option: str) -> tuple[str, float]:
    prefix, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise click.BadParameter("write a number above 0, or PREFIX=N", param_hint=option)
    return prefix, value
