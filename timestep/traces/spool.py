"""Files for what is not in the store yet: they outlive a process that is killed.

A spool lies beside the store, and the process that writes it holds a lock on it. When the lock is
free and the file still there, that process is gone, and its events can be taken in.
"""

import json
import logging
import os
import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from timestep.traces.records import (
    Event,
    Exchange,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)

try:
    import fcntl
except ImportError:  # Windows has none, and deletes no file that is open
    fcntl = None  # type: ignore[assignment] # Windows has none

logger = logging.getLogger("timestep")

_KINDS: dict[str, Callable[..., Event]] = {
    kind.__name__: kind for kind in (TraceStarted, SpanStarted, SpanEnded, TraceEnded)
}
_WITHOUT_EXCHANGES = -1
_to_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps makes one each time


class Spool:
    """A new file beside the store at *store*.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(f"{_prefix(store)}{os.getpid()}-{secrets.token_hex(4)}")
        store.parent.mkdir(parents=True, exist_ok=True)
        # It gets its name when it is locked, lest another process take it for an abandoned one.
        unlocked = self._path.with_name(f".{self._path.name}")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._file = os.open(unlocked, flags, 0o600)  # prompts are private
        try:
            _lock(self._file)
            unlocked.rename(self._path)
        except BaseException:
            os.close(self._file)
            unlocked.unlink()
            raise

    def append(self, events: Sequence[Event]) -> None:
        """Have *events* in the file: from now on they survive this process.

        Raises:
            OSError: The disk refuses; some of the events may be in the file.
        """
        left = memoryview(b"".join(_frame(event) for event in events))
        while left:
            left = left[os.write(self._file, left) :]

    def close(self) -> None:
        """Let go of the file and leave it for `take_in`."""
        os.close(self._file)

    def delete(self) -> None:
        """Delete the file, now that its events are in the store."""
        self.close()
        with suppress(OSError):  # what is taken in again is stored once
            self._path.unlink()


def take_in(store: Path, write: Callable[[list[Event]], None]) -> None:
    """Give *write* the events that killed processes left beside *store*; delete what is written.

    An event may come again, if a process was killed before it could delete its file.
    """
    try:
        with os.scandir(store.parent) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(_prefix(store))]
    except OSError:
        return
    for path in sorted(store.with_name(name) for name in names):
        try:
            with _abandoned(path) as file:
                if file is not None:
                    write(_read(file))
                    path.unlink()
        except OSError as exc:
            logger.debug("%s stays where it is: %s", path, exc)


def _prefix(store: Path) -> str:
    return f"{store.name}-spool-"


@contextmanager
def _abandoned(path: Path) -> Generator[BinaryIO | None]:
    """The file at *path*, locked; None while another process uses it, or if it is a stranger's."""
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        is_ours = not hasattr(os, "geteuid") or os.fstat(file.fileno()).st_uid == os.geteuid()
        try:
            _lock(file.fileno())
        except BlockingIOError:
            is_ours = False
        yield file if is_ours else None


def _lock(file: int) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _frame(event: Event) -> bytes:
    """*event* as one line of JSON, and behind it the bodies, whose sizes are in the line."""
    fields: Sequence[Any] = event
    exchanges: Sequence[Exchange] = ()
    if isinstance(event, SpanEnded):
        fields, exchanges = event[:_WITHOUT_EXCHANGES], event.exchanges
    bodies = [body for exchange in exchanges for body in (exchange.request, exchange.response)]
    ends = [(exchange.url, exchange.status) for exchange in exchanges]
    line = [type(event).__name__, fields, ends, [len(body) for body in bodies]]
    return b"".join([_to_json(line).encode(errors="replace"), b"\n", *bodies])


def _read(file: BinaryIO) -> list[Event]:
    """The events in *file*, up to the one that a kill cut short."""
    events: list[Event] = []
    while line := file.readline():
        try:
            kind, fields, ends, sizes = json.loads(line)
            bodies = [file.read(size) for size in sizes]
            if [len(body) for body in bodies] != sizes:
                break
            exchanges = [
                Exchange(url, status, *bodies[2 * number : 2 * number + 2])
                for number, (url, status) in enumerate(ends)
            ]
            more = {"exchanges": tuple(exchanges)} if exchanges else {}
            events.append(_KINDS[kind](*fields, **more))
        except (ValueError, TypeError, KeyError):
            break
    return events
