"""Writes events to the store from a thread of its own, so that a run never waits for a disk."""

import atexit
import hashlib
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from timestep.traces.records import (
    Event,
    Exchange,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)
from timestep.traces.redaction import Redaction
from timestep.traces.schema import StoreError, connect, file_id

logger = logging.getLogger("timestep")

QUEUE_BYTES = 64 * 2**20
"""How much may wait to be written. What comes on top is counted and lost."""

_GATHER_SECONDS = 0.2
"""How long beginnings may wait for company; what has ended never waits, lest a kill takes it."""

_EXIT_SECONDS = 5.0
_EVENT_BYTES = 500
_BATCH = 2_000

_INSERT_TRACE = (
    "INSERT OR IGNORE INTO traces (trace_id, name, group_id, metadata, started_at) "
    "VALUES (?, ?, ?, ?, ?)"
)
_INSERT_TRACE_END = "INSERT INTO trace_ends (trace_id, ended_at) VALUES (?, ?)"
_INSERT_SPAN = (
    "INSERT OR IGNORE INTO spans (span_id, trace_id, parent_id, kind, name, started_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_SPAN_END = (
    "INSERT OR IGNORE INTO span_ends (span_id, trace_id, kind, name, ended_at, error, data, model, "
    "input_tokens, output_tokens, first_token_seconds, load_seconds, prefill_seconds, "
    "decode_seconds, context_length, seconds) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_TEXT = "INSERT INTO texts (rowid, text) VALUES (?, ?)"
_INSERT_BODY = "INSERT OR IGNORE INTO bodies (hash, body) VALUES (?, ?)"
_INSERT_EXCHANGE = (
    "INSERT INTO exchanges (span_id, url, status, request, response) VALUES (?, ?, ?, ?, ?)"
)
_INSERT_LOSS = "INSERT INTO losses (at, events, reason) VALUES (?, ?, ?)"
_TEXT_COLUMN = SpanEnded._fields.index("text")


class Writer:
    """A bounded queue and the thread that empties it into the file at *path*.

    Nothing happens before the first event. Nothing here raises into the caller: what cannot be
    written is counted, logged once, and noted in the store as soon as that works again.

    Args:
        path: The store's file.
        redaction: Applied to everything before it is written.
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
        self._reset()
        # Nothing that a run did may be lost because the program ends.
        atexit.register(_flush, weakref.ref(self))

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._waiting_bytes = 0
        self._is_urgent = False
        self._is_writing = False
        self._is_closing = False
        self._lost = 0
        self._warned: set[str] = set()
        self._thread: threading.Thread | None = None

    def put(self, event: Event) -> None:
        """Have *event* written soon."""
        if self._pid != os.getpid():
            self._reset()  # a fork has the parent's queue, but not its thread
        size = _size(event)
        with self._changed:
            if self._waiting_bytes + size > self._queue_bytes or self._is_closing:
                self._lost += 1
                reason = "the store is closed" if self._is_closing else "the queue is full"
                self._warn(reason)
                return
            self._waiting.append(event)
            self._waiting_bytes += size
            if isinstance(event, SpanEnded | TraceEnded):
                self._is_urgent = True
            if self._is_urgent or len(self._waiting) == 1:
                self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="timestep-traces", daemon=True
                )
                self._thread.start()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything so far is in the file; False when *timeout* seconds were short."""
        if self._pid != os.getpid():
            return True
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._thread is None or not (self._waiting or self._is_writing), timeout
            )

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, and end the thread. Later events are lost, and counted."""
        self.flush(timeout)
        with self._changed:
            self._is_closing = True
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None and self._pid == os.getpid():
            thread.join(timeout)

    # In the thread

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        opened: tuple[int, int] | None = None
        while batch := self._take():
            try:
                if connection is not None and file_id(self._path) != opened:
                    connection.close()  # somebody deleted or moved the file
                    connection = None
                if connection is None:
                    connection = connect(self._path)
                    opened = file_id(self._path)
                    if self._on_open is not None:
                        self._on_open(connection)
                self._write(connection, batch)
            except (sqlite3.Error, StoreError) as exc:
                self._lose(len(batch), str(exc))
            finally:
                with self._changed:
                    self._is_writing = False
                    self._changed.notify_all()
        if connection is not None:
            connection.close()

    def _take(self) -> list[Event]:
        """The next events, as soon as there are some; none when the writer closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            if not self._is_urgent:
                self._changed.wait_for(lambda: self._is_urgent or self._is_closing, _GATHER_SECONDS)
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            self._waiting_bytes -= sum(_size(event) for event in batch)
            self._is_urgent = bool(self._waiting)
            self._is_writing = bool(batch)
            return batch

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
        events = self._redaction.events(batch)
        connection.execute("BEGIN IMMEDIATE")
        try:
            lost = self._lost
            if lost:
                reason = "; ".join(sorted(self._warned))
                connection.execute(_INSERT_LOSS, (time.time(), lost, reason))
            insert(connection, events)
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


def insert(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Add *events* inside the transaction that the caller began.

    Raises:
        sqlite3.Error: The database refuses them.
    """
    starts = [event for event in events if isinstance(event, SpanStarted)]
    traces = [event for event in events if isinstance(event, TraceStarted)]
    connection.executemany(_INSERT_TRACE, traces)
    # A resumed run goes on with a trace whose beginning another process saw, or nobody.
    unnamed = {event.trace_id: event for event in reversed(starts)}
    connection.executemany(
        _INSERT_TRACE,
        [(key, "Agent workflow", None, None, event.started_at) for key, event in unnamed.items()],
    )
    connection.executemany(_INSERT_SPAN, starts)
    for event in events:
        if isinstance(event, SpanEnded):
            _insert_span_end(connection, event)
    ends = [event for event in events if isinstance(event, TraceEnded)]
    connection.executemany(_INSERT_TRACE_END, ends)


def _insert_span_end(connection: sqlite3.Connection, event: SpanEnded) -> None:
    cursor = connection.execute(
        _INSERT_SPAN_END, (*event[:_TEXT_COLUMN], *event[_TEXT_COLUMN + 1 : -1])
    )
    if cursor.rowcount == 0:
        return  # the same end twice
    if event.text:
        connection.execute(_INSERT_TEXT, (cursor.lastrowid, event.text))
    for exchange in event.exchanges:
        _insert_exchange(connection, event.span_id, exchange)


def _insert_exchange(connection: sqlite3.Connection, span_id: str, exchange: Exchange) -> None:
    hashes: list[str] = []
    for body in (exchange.request, exchange.response):
        hashes.append(hashlib.sha256(body).hexdigest())
        connection.execute(_INSERT_BODY, (hashes[-1], body))
    connection.execute(_INSERT_EXCHANGE, (span_id, exchange.url, exchange.status, *hashes))


def _size(event: Event) -> int:
    if not isinstance(event, SpanEnded):
        return _EVENT_BYTES
    bodies = sum(len(exchange.request) + len(exchange.response) for exchange in event.exchanges)
    return _EVENT_BYTES + len(event.data) + len(event.text) + bodies


def _flush(reference: "weakref.ref[Writer]") -> None:
    writer = reference()
    if writer is not None:
        writer.flush(_EXIT_SECONDS)
