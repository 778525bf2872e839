"""The files of a batch: ``OUT.jsonl`` for answers and ``OUT.errors.jsonl`` for failures.

States of an output: *locked* by `Output.open`; *read*, when the ids that are done are known and a torn
last line is cut off; then a row is appended for each line that ends, until `Output.close`. A row is
written by one call, so a killed process leaves whole rows and at most one torn one.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from filelock import FileLock, Timeout
from pydantic_core import to_json

from timestep.batch.lines import Line
from timestep.batch.question import Json


class OutputError(Exception):
    """The files cannot be used; the message says why and what to do."""


class Output:
    """Where the rows of one batch go.

    Args:
        path: Of the answers; the failures stand beside it.
        retry_errors: Forget the failures of earlier runs, so that their lines are asked again.

    Attributes:
        done_before: How many lines earlier runs answered.
        failed_before: How many lines earlier runs gave up.

    Raises:
        OutputError: Another run writes there, or a file is not the output of a batch.
    """

    def __init__(self, path: Path, *, retry_errors: bool = False) -> None:
        self.path = path
        if path.exists() and not path.is_file():
            raise OutputError(
                f"{path} cannot be written: it is not an ordinary file. Name another."
            )
        self.errors_path = path.with_name(f"{path.name.removesuffix('.jsonl')}.errors.jsonl")
        if not path.parent.is_dir():
            raise OutputError(f"{path} cannot be written: there is no folder {path.parent}.")
        self._lock = FileLock(f"{path.resolve()}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as exc:
            raise OutputError(
                f"Another run is writing to {path}. Wait until it ends, or choose another file."
            ) from exc
        except OSError as exc:
            raise OutputError(f"{path} cannot be written: {exc.strerror}.") from exc
        try:
            self._done = _read(path)
            self._failed = _read(self.errors_path)
            if retry_errors:
                self.errors_path.unlink(missing_ok=True)
                self._failed = {}
            self._answers: IO[bytes] = path.open("ab", buffering=0)
            self.done_before, self.failed_before = len(self._done), len(self._failed)
        except (OSError, OutputError) as exc:
            self._lock.release()
            if isinstance(exc, OutputError):
                raise
            raise OutputError(f"{exc.filename} cannot be written: {exc.strerror}.") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and let other runs have them."""
        self._answers.close()
        self._lock.release()

    def has(self, line: Line) -> bool:
        """True when *line* has its row, so that it need not be asked."""
        return line.custom_id in self._done or line.custom_id in self._failed

    def has_changed(self, line: Line) -> bool:
        """True when *line* was asked with another text before."""
        key = self._done.get(line.custom_id) or self._failed.get(line.custom_id)
        return key is not None and key != line.key

    def write(self, row: Json, *, failed: bool) -> None:
        """Append *row*.

        Raises:
            OutputError: The disk is full, or the file went away.
        """
        path = self.errors_path if failed else self.path
        text = _json(row) + b"\n"
        try:
            if failed:
                with path.open("ab", buffering=0) as file:
                    _write_all(file, text)
            else:
                _write_all(self._answers, text)
        except OSError as exc:
            raise OutputError(
                f"{path} cannot be written: {exc.strerror}. The same command goes on from here."
            ) from exc


_ID = "batch_req_"
_BEGIN = f'{{"id":"{_ID}'.encode()


def row_id(key: str) -> str:
    """The ``id`` of the row of a line with *key*."""
    return f"{_ID}{key}"


def _json(row: Json) -> bytes:
    try:
        return to_json(row)
    except ValueError:  # half a surrogate pair
        return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _write_all(file: IO[bytes], text: bytes) -> None:
    left = memoryview(text)
    while left:
        left = left[file.write(left) :]


def _read(path: Path) -> dict[str, str]:
    """The keys of the rows at *path* by custom id; a torn last line is cut off."""
    if not path.exists():
        return {}
    with path.open("r+b") as file:
        whole = 0
        found: dict[str, str] = {}
        for number, text in enumerate(file, 1):
            # The beginning of a row, and not some other file.
            begin = text.replace(b" ", b"")[: len(_BEGIN)]
            if not text.endswith(b"\n") and _BEGIN.startswith(begin):
                os.ftruncate(file.fileno(), whole)
                break
            whole += len(text)
            found.update(_row(path, number, text))
        return found


def _row(path: Path, number: int, text: bytes) -> Iterator[tuple[str, str]]:
    try:
        row: Any = json.loads(text)
    except ValueError:
        row = None
    match row:
        case {"custom_id": str(custom_id), "id": str(name)}:
            yield custom_id, name.removeprefix(_ID)
        case _:
            raise OutputError(
                f"{path}:{number} is not a row of a batch. Choose another file for the output."
            )
