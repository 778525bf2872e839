"""Files for what is not in the store yet: they outlive a process that is killed.

A spool lies beside the store, and the process that writes it holds a lock on it. When the lock is
free and the file still there, that process is gone, and its events can be taken in.
"""

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, get_type_hints

from timestep.traces.records import (
    Event,
    Exchange,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)
from timestep.traces.schema import StoreError

try:
    import fcntl
except ImportError:  # Windows has none, and deletes no file that is open
    fcntl = None  # type: ignore[assignment] # Windows has none

_KINDS: dict[str, Callable[..., Event]] = {
    kind.__name__: kind for kind in (TraceStarted, SpanStarted, SpanEnded, TraceEnded)
}
_WITHOUT_EXCHANGES = -1
_HEADER = b"timestep spool 1 "
# json.dumps makes an encoder each time. Ids may be anything that has a text.
_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Spool:
    """A new file beside the store at *store*.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, store: Path) -> None:
        store.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        while True:
            # Taken in by name, and so in the order in which they were begun.
            began = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
            self._path = store.with_name(f"{store.name}-spool-{began}")
            self._file = os.open(self._path, flags, 0o600)  # prompts are private
            try:
                if fcntl is not None:
                    fcntl.flock(self._file, fcntl.LOCK_EX)
                if os.fstat(self._file).st_nlink:
                    # No content can tell what begins a frame, however a file is damaged.
                    self._sign = secrets.token_hex(8).encode()
                    self._write(_HEADER + self._sign + b"\n")
                    return
            except BaseException:
                self.delete()
                raise
            os.close(self._file)  # it was taken for an abandoned one before it was locked

    def append(self, events: Sequence[Event]) -> None:
        """Have *events* in the file: from now on they survive this process.

        Raises:
            OSError: The disk refuses; some of the events may be in the file.
        """
        # A line ends before each frame, too: it is found whatever was cut short before it.
        self._write(b"".join(b"\n" + self._sign + _frame(event) for event in events))

    def close(self) -> None:
        """Let go of the file and leave it for `take_in`."""
        os.close(self._file)

    def delete(self) -> None:
        """Delete the file, now that its events are in the store."""
        self.close()
        with suppress(OSError):  # what is taken in again is stored once
            self._path.unlink()

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        while left:
            left = left[os.write(self._file, left) :]


def take_in(store: Path, write: Callable[[list[Event], int], object]) -> list[Path]:
    """Give *write* the events that killed processes left beside *store*; delete what is written.

    An event may come again, if a process was killed before it could delete its file.

    Args:
        store: The store's file.
        write: Called for each file with its events, and with how many gaps the file has.

    Returns:
        The files that stay, because they cannot be read, written or deleted.
    """
    stay: list[Path] = []
    busy: set[str] = set()
    paths = _spools(store)
    for number, path in enumerate(paths):
        process = path.name.rsplit("-", 2)[1]
        if process in busy:
            continue  # a beginning comes before its end
        try:
            with _abandoned(path) as file:
                if file is None:
                    busy.add(process)
                elif (content := _read(file)) is None:
                    stay.append(path)
                else:
                    if content != ([], 0):
                        write(*content)
                    path.unlink()
        except FileNotFoundError:
            pass  # another process took it in
        except OSError:
            stay.append(path)
        except StoreError:
            return [*stay, *paths[number:]]  # nor would the others be written
    return stay


def _spools(store: Path) -> list[Path]:
    name = re.compile(re.escape(store.name) + r"-spool-\d{20}-\d+-[0-9a-f]{8}")
    try:
        with os.scandir(store.parent) as entries:
            names = [
                entry.name
                for entry in entries
                if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []
    return sorted(store.with_name(name) for name in names)


@contextmanager
def _abandoned(path: Path) -> Generator[BinaryIO | None]:
    """The file at *path*, locked; None while another process uses it, or if it is a stranger's."""
    # Whatever it was a moment ago: nothing may keep this waiting.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    try:
        yield os.fdopen(descriptor, "rb", closefd=False) if _is_free(descriptor) else None
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    status = os.fstat(descriptor)
    is_ours = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    if not is_ours or not stat.S_ISREG(status.st_mode):
        return False
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


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


def _read(file: BinaryIO) -> tuple[list[Event], int] | None:
    """The events in *file* and the number of gaps between them; None if nothing in it is readable."""
    header = file.readline()
    if header and not header.startswith(_HEADER):
        return None
    sign = header.removeprefix(_HEADER).rstrip(b"\n")
    size = os.fstat(file.fileno()).st_size
    events: list[Event] = []
    gaps = 0
    gap = b""  # how the gap begins that this is in
    while line := file.readline():
        behind = file.tell()
        event = _event(line.removeprefix(sign), file, size) if line.startswith(sign) else None
        if event is not None:
            events.append(event)
            gaps += bool(gap)
            gap = b""
        elif line != b"\n":
            gap = gap or line
            file.seek(behind)
    # What a kill cut short at the end is no gap: nobody was told that it ended.
    gaps += not (gap.startswith(sign) or sign.startswith(gap))
    return None if gaps and not events else (events, gaps)


def _event(line: bytes, file: BinaryIO, size: int) -> Event | None:
    """The event that *line* says, with its bodies from *file* of *size* bytes; None for nonsense."""
    try:
        kind, fields, ends, sizes = json.loads(line)
        if min(sizes, default=0) < 0 or sum(sizes) > size - file.tell():
            return None
        bodies = [file.read(each) for each in sizes]
        exchanges = [
            Exchange(url, status, *bodies[2 * number : 2 * number + 2])
            for number, (url, status) in enumerate(ends)
        ]
        event = _KINDS[kind](*fields)
        is_whole = all(_has_its_types(each) for each in (event, *exchanges))
        for text in (getattr(event, name, None) for name in ("data", "error", "metadata")):
            if text is not None:
                json.loads(text)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if exchanges and isinstance(event, SpanEnded):
        event = event._replace(exchanges=tuple(exchanges))
    return event if is_whole else None


def _has_its_types(record: Event | Exchange) -> bool:
    """True when each field of *record* is what it is declared to be."""
    return all(
        isinstance(value, kind) or (isinstance(value, int) and isinstance(0.0, kind))
        for value, kind in zip(record, _types(type(record)), strict=True)
    )


def _types(record: type[Event | Exchange]) -> list[Any]:
    declared = get_type_hints(record)
    return [
        tuple if declared[name] == tuple[Exchange, ...] else declared[name]
        for name in record._fields
    ]
