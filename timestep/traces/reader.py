"""`TraceReader`: reads the runs of this machine from one SQLite file."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

from timestep.net.forks import hold_during_forks, keep_for_parent
from timestep.traces import queries
from timestep.traces.connections import connect_empty, connect_to_read, file_id
from timestep.traces.errors import StoreError, UnknownTraceError
from timestep.traces.queries import Cursor, Filter, Hit
from timestep.traces.records import Span, Summary, Trace
from timestep.traces.statistics import By, Stats, statistics

_T = TypeVar("_T")
_SHOWN_IDS = 3
_FORK_SECONDS = 5.0


class TraceReader:
    """Recorded runs in the file at *path*: what any process has written so far.

    Every method that reads raises `StoreError` when the file cannot be read.

    Args:
        path: The SQLite file; one that does not exist holds no runs.

    Raises:
        StoreError: *path* cannot name a file.
    """

    def __init__(self, path: Path | str) -> None:
        self._reading = _Reading(path)
        self.path = self._reading.path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._reading.close()

    def traces(self, wanted: Filter | None = None, *, limit: int = 50) -> list[Summary]:
        """Return the runs that *wanted* describes, newest first."""
        return self._reading.run(lambda db: queries.summaries(db, wanted or Filter(), limit=limit))

    def find(self, name: str) -> str:
        """Return the id of the one run that *name* means.

        Args:
            name: An id, its beginning (at least four characters, ``trace_`` may be left out),
                ``last``, or ``last-1`` for the one before.

        Raises:
            UnknownTraceError: No run has that name, or several may.
        """
        found = self._reading.run(lambda db: queries.find_id(db, name))
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
        trace = self._reading.run(lambda db: queries.load(db, trace_id))
        if trace is None:
            raise UnknownTraceError(f"The run {trace_id} was deleted a moment ago.")
        return trace

    def body(self, digest: str) -> bytes:
        """Return the body of a request or answer by its SHA-256.

        Raises:
            UnknownTraceError: There is no such body.
        """
        found = self._reading.run(lambda db: queries.body(db, digest))
        if found is None:
            raise UnknownTraceError(f"{self.path} has no body {digest[:12]}….")
        return found

    def search(self, text: str, *, limit: int = 50) -> list[Hit]:
        """Return the steps that contain all words of *text*, newest first."""
        return self._reading.run(lambda db: queries.search(db, text, limit=limit))

    def stats(self, by: By = "model", *, since: float = 0.0) -> list[Stats]:
        """Return calls, errors, tokens and latency since the Unix time *since*, without replays.

        Args:
            by: What to group by: ``model``, ``agent``, ``tool`` or ``day``.
            since: Unix seconds.
        """
        return self._reading.run(lambda db: statistics(db, by, since=since))

    def values(self) -> dict[str, list[str]]:
        """Return the models, agents and tools that filters can name."""
        return self._reading.run(queries.values)

    def cursor(self) -> Cursor:
        """Return the cursor behind everything stored, for the methods below."""
        return self._reading.run(queries.cursor)

    def runs_after(self, after: Cursor) -> tuple[list[str], Cursor]:
        """Return the ids of the runs with something new behind *after*, and the next cursor."""
        return self._reading.run(lambda db: queries.runs_after(db, after))

    def spans_after(self, after: Cursor) -> tuple[list[Span], Cursor]:
        """Return the spans that started or ended behind *after*, and the next cursor."""
        return self._reading.run(lambda db: queries.spans_after(db, after))

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


class _Reading:
    """Runs queries on the file at *path*, from any thread, one at a time.

    The connection is opened when it is needed, and again when the file is replaced.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = _absolute(path)
        self.is_at_rest = False
        self._opened: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._using = threading.RLock()  # a signal may close what it interrupts
        hold_during_forks(self)

    def run(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what *query* finds. Without a file it runs on an empty store."""
        with self._using:
            connection = self._connect()
            try:
                return query(connection)
            # A damaged file holds values of any type.
            except (sqlite3.Error, ValueError, TypeError) as exc:
                raise StoreError(
                    f"{self.path} cannot be read: {exc}. 'timestep traces verify' says more."
                ) from exc
            finally:
                # Close an empty store, and a file that was perhaps opened as one that never changes.
                if self._opened is None or not os.access(self.path.parent, os.W_OK):
                    self._disconnect()

    def _connect(self) -> sqlite3.Connection:
        """Return the reading connection, or one to an empty store while there is no file."""
        if file_id(self.path) != self._opened:
            self._disconnect()
        if self._connection is None:
            found = connect_to_read(self.path)
            self._opened = None if found is None else file_id(self.path)
            self._connection = found or connect_empty()
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        with self._using:
            self._disconnect()

    # Forks

    def hold(self) -> None:
        """Come to rest without a connection while the process forks."""
        self.is_at_rest = self._using.acquire(timeout=_FORK_SECONDS)
        if self.is_at_rest:
            self._disconnect()

    def release(self) -> None:
        """Go on after the process forked."""
        if self.is_at_rest:
            self._using.release()

    def forget_connections(self) -> None:
        """Begin without a connection in a forked process."""
        self._using = threading.RLock()
        keep_for_parent(self._connection)
        self._connection = None

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
