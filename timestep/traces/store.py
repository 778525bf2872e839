"""`TraceStore`: the runs of this machine in one SQLite file."""

import logging
import math
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from timestep.net.forks import hold_during_forks, keep_for_parent
from timestep.traces import queries
from timestep.traces.maintenance import problems, prune
from timestep.traces.queries import Filter, Hit, ModelStats
from timestep.traces.records import Event, Span, Summary, Trace
from timestep.traces.redaction import Redaction
from timestep.traces.rows import write
from timestep.traces.schema import (
    BUSY_SECONDS,
    StoreError,
    connect,
    connect_empty,
    connect_to_read,
    file_id,
)
from timestep.traces.spool import take_in
from timestep.traces.writer import QUEUE_BYTES, Writer

_T = TypeVar("_T")
_DAY = 86_400.0
_TAKE_IN_SECONDS = 1.0
_TAKE_IN_LATER_SECONDS = 30.0
_SHOWN = 3
_FORK_SECONDS = 5.0

logger = logging.getLogger("timestep")


class UnknownTraceError(StoreError):
    """No run, or more than one, goes by a given id."""


class TraceStore:
    """Recorded runs in the file at *path*, which several processes may write at once.

    Writing goes through a bounded queue and a thread, and never raises. Reading sees what is
    written so far, by any process; `flush` first to see your own last steps. The file is made
    on the first write.

    Args:
        path: The SQLite file; beside it lie its ``-wal`` and ``-shm`` while it is in use.
        retention_days: Older runs are deleted when a writer opens the file; None keeps all.
        redact: Regular expressions; what they match is never stored. Keys never are, anyway.
        secrets: Exact texts that are never stored either.
        queue_bytes: How much may wait to be written before steps are lost (and counted).

    Raises:
        ValueError: A pattern in *redact* is no regular expression, one of the lists is none, or
            *retention_days* is no number of days.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        retention_days: float | None = None,
        redact: Sequence[str] = (),
        secrets: Iterable[str] = (),
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        # Once and for all: the program may change its directory, and a spool lies beside the file.
        self.path = Path(os.path.realpath(Path(path).expanduser()))
        if retention_days is not None and not _is_duration(retention_days):
            raise ValueError("retention_days is no number of days; leave it out to keep all.")
        self._retention_days = retention_days
        self._redaction = Redaction(redact, secrets)
        self._writer = Writer(
            self.path, self._redaction, queue_bytes=queue_bytes, on_open=self._take_care
        )
        self._take_in_at = 0.0
        self._opened: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._using = threading.RLock()  # a signal may close what it interrupts
        hold_during_forks(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Writing

    def record(self, event: Event) -> None:
        """Have *event* written soon; never raises, never waits for another process.

        When it is an end, it is in a file that survives a kill when this returns.
        """
        self._writer.put(event)

    def write(self, events: Sequence[Event]) -> None:
        """Write *events* now, in one transaction; what cannot be written at all is counted.

        Raises:
            StoreError: The file cannot be written.
        """
        with self._using:
            self._write(events)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all recorded events are in the file; False when *timeout* was too short."""
        return self._writer.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Flush, and let go of the file."""
        self._writer.close(timeout)
        with self._using:
            self._disconnect()

    # Forks

    def hold(self) -> None:
        """Come to rest while the process forks."""
        self._is_at_rest = self._using.acquire(timeout=_FORK_SECONDS)
        if self._is_at_rest:
            self._disconnect()
        self._are_all_at_rest = self._writer.hold() and self._is_at_rest

    def release(self) -> None:
        """Go on after the process forked."""
        self._writer.release()
        if self._is_at_rest:
            self._using.release()

    def forget_connections(self) -> None:
        """Begin anew in a forked process."""
        self._using = threading.RLock()
        keep_for_parent(self._connection)
        self._connection = None
        self._writer.begin_anew(is_cut_off=not self._are_all_at_rest)

    # Reading

    def traces(
        self, wanted: Filter | None = None, *, limit: int = 50, offset: int = 0
    ) -> list[Summary]:
        """The runs that *wanted* describes, newest first."""
        return self._read(
            lambda db: queries.summaries(db, wanted or Filter(), limit=limit, offset=offset)
        )

    def find(self, name: str) -> str:
        """The id of the one run that *name* means.

        Args:
            name: An id, its beginning (at least four characters, ``trace_`` may be left out),
                ``last``, or ``last-1`` for the one before.

        Raises:
            UnknownTraceError: There is none, or more than one.
        """
        found = self._read(lambda db: queries.find_id(db, name))
        if not found:
            raise UnknownTraceError(
                f"No run {name!r} in {self.path}. 'timestep traces list' shows what there is."
            )
        if len(found) > 1:
            raise UnknownTraceError(
                f"{name!r} may mean {', '.join(found[:3])}{' …' if len(found) > 3 else ''}; "  # noqa: PLR2004 - three are enough to show
                "write more of the id."
            )
        return found[0]

    def get(self, name: str) -> Trace:
        """The run that *name* means, with all its spans; see `find`.

        Raises:
            UnknownTraceError: There is none, or more than one.
        """
        trace_id = self.find(name)
        trace = self._read(lambda db: queries.load(db, trace_id))
        if trace is None:
            raise UnknownTraceError(f"The run {trace_id} was deleted just now.")
        return trace

    def body(self, digest: str) -> bytes:
        """The body of a request or answer by its SHA-256.

        Raises:
            UnknownTraceError: There is no such body.
        """
        found = self._read(lambda db: queries.body(db, digest))
        if found is None:
            raise UnknownTraceError(f"No body {digest[:12]}… in {self.path}.")
        return found

    def search(self, text: str, *, limit: int = 50) -> list[Hit]:
        """The steps that contain all words of *text*, newest first."""
        return self._read(lambda db: queries.search(db, text, limit=limit))

    def stats(self, *, since: float = 0.0) -> list[ModelStats]:
        """Calls, errors, tokens and latency of every model since the Unix time *since*."""
        return self._read(lambda db: queries.model_stats(db, since=since))

    def values(self) -> dict[str, list[str]]:
        """The models, agents and tools that filters can name."""
        return self._read(queries.values)

    def latest(self) -> tuple[int, int]:
        """The cursor behind everything stored, for `changes`."""
        return self._read(queries.latest)

    def changes(self, after: tuple[int, int]) -> tuple[tuple[int, int], list[Span]]:
        """The spans that began or ended behind the cursor *after*, and the next cursor."""
        return self._read(lambda db: queries.changes(db, after))

    def position(self) -> dict[str, int]:
        """The position behind everything stored, for `changed`."""
        return self._read(queries.position)

    def changed(self, after: dict[str, int]) -> tuple[dict[str, int], list[str]]:
        """The ids of the runs that something happened to behind *after*, and the next position."""
        return self._read(lambda db: queries.changed(db, after))

    def follow(self, after: tuple[int, int], *, pause: Callable[[], object]) -> Iterator[Span]:
        """Spans behind the cursor *after* as they begin and end, for ever.

        Args:
            after: From `latest` or `changes`.
            pause: Waits between two looks.
        """
        cursor = after
        while True:
            cursor, spans = self.changes(cursor)
            yield from spans
            if not spans:
                pause()

    # Care

    def verify(self) -> list[str]:
        """What is wrong with the file, in words; nothing when it is sound."""
        with self._using:
            stay = self._take_in()
            self._take_in_at = time.monotonic() + _TAKE_IN_SECONDS
            found = self._read(problems)
        return [*found, *([_what_stays(stay)] if stay else [])]

    def prune(self, *, before: float) -> int:
        """Delete the runs that began before the Unix time *before*; how many there were.

        Raises:
            StoreError: The file cannot be written.
        """
        with self._using:
            stay = self._take_in(BUSY_SECONDS)
            count = self._prune(before) if self.path.exists() else 0
        if stay:
            raise StoreError(f"{count} runs are deleted, and maybe not all: {_what_stays(stay)}.")
        return count

    def _prune(self, before: float) -> int:
        connection = connect(self.path)
        try:
            count = prune(connection, before)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # what is deleted is there, too
        except sqlite3.Error as exc:
            raise StoreError(f"{self.path} cannot be pruned: {exc}.") from exc
        finally:
            connection.close()
        return count

    def _take_care(self, connection: sqlite3.Connection) -> None:
        try:
            self._take_in()
            if self._retention_days is not None:
                prune(connection, time.time() - self._retention_days * _DAY)
        except Exception:
            # It is no reason to lose what is to be written now.
            logger.exception("%s is not looked after.", self.path)

    def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._using:
            if (now := time.monotonic()) >= self._take_in_at:
                stay = self._take_in()
                self._take_in_at = now + (_TAKE_IN_LATER_SECONDS if stay else _TAKE_IN_SECONDS)
            with self._readable() as connection:
                try:
                    return query(connection)
                except sqlite3.Error as exc:
                    raise StoreError(
                        f"{self.path} cannot be read: {exc}. 'timestep traces verify' says more."
                    ) from exc

    def _take_in(self, busy_seconds: float = 1.0) -> list[Path]:
        """Take in what ended processes left beside the file; what cannot be taken in.

        Args:
            busy_seconds: Who only looks waits for nobody, or hardly: it is taken in next time.
        """

        def write_left(events: Sequence[Event], gaps: int) -> None:
            losses = {"a spool was damaged": gaps} if gaps else {}
            self._write(events, losses, busy_seconds=busy_seconds)

        return take_in(self.path, write_left)

    def _write(
        self,
        events: Sequence[Event],
        losses: Mapping[str, int] | None = None,
        *,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        clean, reasons = self._redaction.each(events)
        losses = Counter(losses or {}) + Counter(reasons)
        connection = connect(self.path, busy_seconds=busy_seconds)
        try:
            reasons += write(connection, clean, losses)
        except sqlite3.Error as exc:
            raise StoreError(f"{self.path} cannot be written: {exc}.") from exc
        finally:
            connection.close()
        for reason in reasons:
            logger.warning("Some steps of runs are not recorded in %s: %s.", self.path, reason)

    @contextmanager
    def _readable(self) -> Generator[sqlite3.Connection]:
        """The reading connection, or an empty store while there is no file."""
        if file_id(self.path) != self._opened:
            self._disconnect()
        if self._connection is None:
            self._connection = connect_to_read(self.path)
            self._opened = file_id(self.path)
        if self._connection is not None:
            yield self._connection
            if not os.access(self.path.parent, os.W_OK):
                self._disconnect()  # it may see a copy that does not change
            return
        empty = connect_empty()
        try:
            yield empty
        finally:
            empty.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _is_duration(days: object) -> bool:
    return isinstance(days, int | float) and not isinstance(days, bool) and 0 < days < math.inf


def _what_stays(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_SHOWN])
    return f"{len(paths)} files of ended processes cannot be taken in, such as {names}"
