"""`TraceStore`: the runs of this machine in one SQLite file."""

import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from timestep.net.forks import hold_during_forks, keep_for_parent
from timestep.traces import queries
from timestep.traces.connections import connect, connect_empty, connect_to_read, file_id
from timestep.traces.errors import StoreError, UnknownTraceError
from timestep.traces.maintenance import describe_loss, problems, prune
from timestep.traces.queries import Cursor, Filter, Hit, ModelStats
from timestep.traces.records import Event, Span, Summary, Trace
from timestep.traces.redaction import Redaction
from timestep.traces.rows import write
from timestep.traces.transactions import is_locked
from timestep.traces.writer import QUEUE_BYTES, Writer

_T = TypeVar("_T")
_DAY = 86_400.0
_FORK_SECONDS = 5.0
_SHOWN_IDS = 3

logger = logging.getLogger("timestep")


class TraceStore:
    """Recorded runs in the file at *path*, which several processes may write at once.

    `record` puts events into a bounded queue, which a thread empties; it never raises. Reading
    sees what any process has written so far; `flush` first to see your own last steps. The file
    is created by the first write.

    Args:
        path: The SQLite file; beside it lie its ``-wal`` and ``-shm`` while it is in use.
        retention_days: Older runs are deleted when a writer opens the file; None keeps all.
        redact: Regular expressions; what they match is never stored. Keys never are, anyway.
        secrets: Exact texts that are never stored either.
        queue_bytes: How much may wait to be written before steps are lost (and counted).

    Raises:
        ValueError: A pattern in *redact* is not a regular expression, *redact* or *secrets* is
            not a list of texts, or *retention_days* is not a number of days.
        StoreError: *path* cannot name a file.
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
        self.path = _absolute(path)
        if retention_days is not None and not _is_duration(retention_days):
            raise ValueError("retention_days is not a number of days; leave it out to keep all.")
        self._retention_days = retention_days
        self._redaction = Redaction(redact, secrets)
        self.queue_bytes = queue_bytes
        self._writer = Writer(
            self.path, self._redaction, queue_bytes=queue_bytes, on_open=self._delete_old_runs
        )
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

        It is in the file within 200 ms, unless another process holds the file.
        """
        self._writer.put(event)

    def write(self, events: Sequence[Event]) -> None:
        """Write *events* now, in one transaction; what cannot be written at all is counted.

        Raises:
            StoreError: The file cannot be written.
        """
        clean, reasons = self._redaction.each(events)
        losses = {reason: reasons.count(reason) for reason in reasons}
        with closing(connect(self.path)) as connection:
            try:
                reasons += write(connection, clean, losses)
            except sqlite3.Error as exc:
                raise StoreError(f"{self.path} cannot be written: {exc}.") from exc
        for reason in reasons:
            logger.warning("Some steps of runs are not recorded in %s: %s.", self.path, reason)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the file holds everything recorded so far, or says what was lost.

        Args:
            timeout: Seconds; 30 by default.

        Returns:
            False when the time was too short, or when the file could not be written.
        """
        return self._writer.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Flush, and let go of the file.

        Args:
            timeout: How many seconds to wait at most, 5 by default.
        """
        self._writer.close(timeout)
        with self._using:
            self._disconnect()

    # Forks

    def hold(self) -> None:
        """Come to rest while the process forks."""
        self._is_at_rest = self._using.acquire(timeout=_FORK_SECONDS)
        if self._is_at_rest:
            self._disconnect()
        is_writer_at_rest = self._writer.hold()
        self._can_child_write = self._is_at_rest and is_writer_at_rest

    def release(self) -> None:
        """Go on after the process forked."""
        self._writer.release()
        if self._is_at_rest:
            self._using.release()

    def forget_connections(self) -> None:
        """Begin without connections in a forked process."""
        self._using = threading.RLock()
        keep_for_parent(self._connection)
        self._connection = None
        self._writer.begin_in_child(can_write=self._can_child_write)

    # Reading

    def traces(
        self, wanted: Filter | None = None, *, limit: int = 50, offset: int = 0
    ) -> list[Summary]:
        """Return the runs that *wanted* describes, newest first."""
        return self._read(
            lambda db: queries.summaries(db, wanted or Filter(), limit=limit, offset=offset)
        )

    def find(self, name: str) -> str:
        """Return the id of the one run that *name* means.

        Args:
            name: An id, its beginning (at least four characters, ``trace_`` may be left out),
                ``last``, or ``last-1`` for the one before.

        Raises:
            UnknownTraceError: No run has that name, or several may.
        """
        found = self._read(lambda db: queries.find_id(db, name))
        if not found:
            raise UnknownTraceError(
                f"No run {name!r} in {self.path}. 'timestep traces list' shows its runs."
            )
        if len(found) > 1:
            raise UnknownTraceError(
                f"{name!r} may mean {', '.join(found[:_SHOWN_IDS])}"
                f"{' …' if len(found) > _SHOWN_IDS else ''}; write more of the id."
            )
        return found[0]

    def get(self, name: str) -> Trace:
        """Return the run that *name* means, with all its spans; see `find`.

        Raises:
            UnknownTraceError: No run has that name, or several may.
        """
        trace_id = self.find(name)
        trace = self._read(lambda db: queries.load(db, trace_id))
        if trace is None:
            raise UnknownTraceError(f"The run {trace_id} was deleted a moment ago.")
        return trace

    def body(self, digest: str) -> bytes:
        """Return the body of a request or answer by its SHA-256.

        Raises:
            UnknownTraceError: There is no such body.
        """
        found = self._read(lambda db: queries.body(db, digest))
        if found is None:
            raise UnknownTraceError(f"{self.path} has no body {digest[:12]}….")
        return found

    def search(self, text: str, *, limit: int = 50) -> list[Hit]:
        """Return the steps that contain all words of *text*, newest first."""
        return self._read(lambda db: queries.search(db, text, limit=limit))

    def stats(self, *, since: float = 0.0) -> list[ModelStats]:
        """Return calls, errors, tokens and latency of every model since the Unix time *since*."""
        return self._read(lambda db: queries.model_stats(db, since=since))

    def values(self) -> dict[str, list[str]]:
        """Return the models, agents and tools that filters can name."""
        return self._read(queries.values)

    def cursor(self) -> Cursor:
        """Return the cursor behind everything stored, for the methods below."""
        return self._read(queries.cursor)

    def runs_after(self, after: Cursor) -> tuple[list[str], Cursor]:
        """Return the ids of the runs with something new behind *after*, and the next cursor."""
        return self._read(lambda db: queries.runs_after(db, after))

    def spans_after(self, after: Cursor) -> tuple[list[Span], Cursor]:
        """Return the spans that started or ended behind *after*, and the next cursor."""
        return self._read(lambda db: queries.spans_after(db, after))

    def follow(self, after: Cursor, *, pause: Callable[[], object]) -> Iterator[Span]:
        """Yield the spans behind *after* as they start and end, without end.

        Args:
            after: From `cursor` or `spans_after`.
            pause: Waits between two looks.
        """
        cursor = after
        while True:
            spans, cursor = self.spans_after(cursor)
            yield from spans
            if not spans:
                pause()

    # Maintenance

    def verify(self) -> list[str]:
        """Return what is wrong with the file, a sentence each; empty when it is sound.

        What this process lost and could not note in the file is listed, too.
        """
        found = self._read(problems)
        return [*found, *(describe_loss(n, why) for why, n in self._writer.losses().items())]

    def prune(self, *, before: float) -> int:
        """Delete the runs that began before the Unix time *before*; return how many.

        Raises:
            StoreError: The file cannot be written.
        """
        if not self.path.exists():
            return 0
        with closing(connect(self.path)) as connection:
            try:
                count = prune(connection, before)
                connection.execute("VACUUM")
                # The -wal file holds what was deleted, too.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as exc:
                raise StoreError(f"{self.path} cannot be pruned: {exc}.") from exc
        return count

    def _delete_old_runs(self, connection: sqlite3.Connection) -> None:
        if self._retention_days is None:
            return
        try:
            prune(connection, time.time() - self._retention_days * _DAY)
        except Exception as exc:
            if is_locked(exc):
                raise  # the writer tries again
            # That is no reason to lose what is to be written now.
            logger.exception("Old runs in %s cannot be deleted.", self.path)

    def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._using, self._readable() as connection:
            try:
                return query(connection)
            # A damaged file holds values of any type.
            except (sqlite3.Error, ValueError, TypeError) as exc:
                raise StoreError(
                    f"{self.path} cannot be read: {exc}. 'timestep traces verify' says more."
                ) from exc

    @contextmanager
    def _readable(self) -> Generator[sqlite3.Connection]:
        """Yield the reading connection, or an empty store while there is no file."""
        if file_id(self.path) != self._opened:
            self._disconnect()
        if self._connection is None:
            self._connection = connect_to_read(self.path)
            self._opened = file_id(self.path)
        if self._connection is not None:
            yield self._connection
            if not os.access(self.path.parent, os.W_OK):
                self._disconnect()  # it may have been opened as a file that never changes
            return
        with closing(connect_empty()) as empty:
            yield empty

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _absolute(path: Path | str) -> Path:
    """Return *path* without links, so that it stays the same when the program changes directory."""
    try:
        return Path(os.path.realpath(Path(path).expanduser()))
    except ValueError as exc:
        raise StoreError(f"{str(path)!r} cannot name a file: {exc}.") from exc


def _is_duration(days: object) -> bool:
    return isinstance(days, int | float) and not isinstance(days, bool) and 0 < days < math.inf
