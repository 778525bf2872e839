"""Writes events to the store from a thread of its own, so that a run never waits for a disk."""

import atexit
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from timestep.forks import forget_in_children
from timestep.traces.records import Event, SpanEnded, TraceEnded
from timestep.traces.redaction import Redaction
from timestep.traces.rows import insert
from timestep.traces.schema import StoreError, connect, file_id
from timestep.traces.spool import Spool

logger = logging.getLogger("timestep")

QUEUE_BYTES = 64 * 2**20
"""How much may wait to be written. What comes on top is counted and lost."""

_GATHER_SECONDS = 0.2
"""How long events wait for company: a transaction costs more than what it writes."""

_LOCKED_SECONDS = 3600.0
"""How long the thread waits for another process's transaction."""

_FLUSH_SECONDS = 30.0
_EXIT_SECONDS = 5.0
_EVENT_BYTES = 500

_INSERT_LOSS = "INSERT INTO losses (at, events, reason) VALUES (?, ?, ?)"


class Writer:
    """A bounded queue and the thread that empties it into the file at *path*.

    When `put` returns, what has ended is in a spool beside that file, so that not even a kill
    takes it. Nothing happens before the first event. Nothing here raises into the caller: what
    cannot be written is counted, logged once, and noted in the store as soon as that works again.

    Args:
        path: The store's file.
        redaction: Applied to everything before it is written anywhere.
        queue_bytes: How much may wait.
        on_open: Called with the connection once the file is open, in the thread.
    """

    def __init__(
        self,
        path: Path,
        redaction: Redaction,
        *,
        queue_bytes: int = QUEUE_BYTES,
        on_open: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._path = path
        self._redaction = redaction
        self._queue_bytes = queue_bytes
        self._on_open = on_open
        self._spool: Spool | None = None
        self._begin()
        forget_in_children(self)
        # Nothing that a run did may be lost because the program ends.
        atexit.register(_flush, weakref.ref(self))

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._begun: list[Event] = []  # not even in the spool yet
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._is_urgent = False
        self._is_writing = False
        self._is_closing = False
        self._lost = 0
        self._warned: set[str] = set()
        self._thread: threading.Thread | None = None

    def forget_connections(self) -> None:
        """Begin anew in a forked process: it has the parent's queue and file, but not its thread."""
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()
        self._begin()

    def put(self, event: Event) -> None:
        """Have *event* written soon."""
        size = _size(event)
        with self._changed:
            if self._waiting_bytes + size > self._queue_bytes or self._is_closing:
                self._lost += 1
                reason = "the store is closed" if self._is_closing else "the queue is full"
                self._warn(reason)
                return
            is_first = not (self._begun or self._waiting)
            self._begun.append(event)
            self._waiting_bytes += size
            if isinstance(event, SpanEnded | TraceEnded):
                self._save()
            if is_first:
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="timestep-traces", daemon=True
                )
                self._thread.start()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything so far is in the file; False when *timeout* seconds were short.

        Args:
            timeout: 30 by default.
        """
        with self._changed:
            self._save()
            self._is_urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._thread is None or not (self._waiting or self._is_writing),
                _FLUSH_SECONDS if timeout is None else timeout,
            )

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, and end the thread. Later events are lost, and counted.

        Args:
            timeout: How many seconds to wait, by default 5. What is not written then stays in
                the spool: this process or the next that opens the store takes it in.
        """
        timeout = _EXIT_SECONDS if timeout is None else timeout
        is_written = self.flush(timeout)
        if not is_written:
            logger.warning(
                "%s cannot be written just now, another process may have it locked. The last "
                "steps lie beside it and are taken in when it is opened next.",
                self._path,
            )
        with self._changed:
            self._is_closing = True
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None and is_written:
            thread.join(timeout)

    def _save(self) -> None:
        """Bring what has begun into the spool, redacted; the lock is held."""
        events, self._begun = self._redacted(self._begun), []
        self._waiting += events
        if not events:
            return
        try:
            if self._spool is None:
                self._spool = Spool(self._path)
            self._spool.append(events)
        except OSError:
            # The store itself may be writable; if not, that is told when it is tried.
            if self._spool is not None:
                self._spool.delete()
            self._spool = None

    def _redacted(self, events: Sequence[Event]) -> Sequence[Event]:
        try:
            return self._redaction.events(events)
        except Exception as exc:  # noqa: BLE001 - content may be anything, and a run must go on
            if len(events) == 1:
                self._lose(1, f"{type(exc).__name__} while redacting")
                return []
            return [clean for event in events for clean in self._redacted([event])]

    # In the thread

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        opened: tuple[int, int] | None = None
        while batch := self._take():
            events, spool = batch
            try:
                if connection is not None and file_id(self._path) != opened:
                    connection.close()  # somebody deleted or moved the file
                    connection = None
                if connection is None:
                    connection = connect(self._path, busy_seconds=_LOCKED_SECONDS)
                    opened = file_id(self._path)
                    if self._on_open is not None:
                        self._on_open(connection)
                self._write(connection, events)
            except (sqlite3.Error, StoreError) as exc:
                self._lose(len(events), str(exc))
            finally:
                if spool is not None:
                    spool.delete()
                with self._changed:
                    self._is_writing = False
                    self._changed.notify_all()
        if connection is not None:
            connection.close()

    def _take(self) -> tuple[list[Event], Spool | None] | None:
        """The next events and their spool, as soon as there are some; None when the writer closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._begun or self._waiting or self._is_closing)
            if not self._is_urgent:
                self._changed.wait_for(lambda: self._is_urgent or self._is_closing, _GATHER_SECONDS)
            self._save()
            events, self._waiting = self._waiting, []
            spool, self._spool = self._spool, None
            self._waiting_bytes = 0
            self._is_urgent = False
            self._is_writing = bool(events)
            return (events, spool) if events or not self._is_closing else None

    def _write(self, connection: sqlite3.Connection, batch: Sequence[Event]) -> None:
        try:
            self._commit(connection, batch)
        except sqlite3.Error:
            raise
        except Exception as exc:  # noqa: BLE001 - content may be anything, and the thread must live
            if len(batch) == 1:
                self._lose(1, f"{type(exc).__name__} while writing")
            else:
                for event in batch:
                    self._write(connection, [event])

    def _commit(self, connection: sqlite3.Connection, batch: Sequence[Event]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            lost = self._lost
            if lost:
                reason = "; ".join(sorted(self._warned))
                connection.execute(_INSERT_LOSS, (time.time(), lost, reason))
            insert(connection, batch)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        with self._changed:
            self._lost -= lost

    def _lose(self, count: int, reason: str) -> None:
        with self._changed:
            self._lost += count
            self._warn(reason)

    def _warn(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            logger.warning(
                "Some steps of runs are not recorded in %s: %s.", self._path, reason.rstrip(".")
            )


def _size(event: Event) -> int:
    if not isinstance(event, SpanEnded):
        return _EVENT_BYTES
    bodies = sum(len(exchange.request) + len(exchange.response) for exchange in event.exchanges)
    return _EVENT_BYTES + len(event.data) + len(event.text) + bodies


def _flush(reference: "weakref.ref[Writer]") -> None:
    writer = reference()
    if writer is not None:
        writer.flush(_EXIT_SECONDS)
