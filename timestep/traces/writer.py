"""Writes events to the store from a thread of its own, so that a run never waits for a disk."""

import atexit
import json
import logging
import sqlite3
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from timestep.net.forks import keep_for_parent
from timestep.traces.records import Event, SpanEnded, TraceEnded
from timestep.traces.redaction import Redaction
from timestep.traces.rows import write
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
_FORK_SECONDS = 5.0
_EXIT_SECONDS = 5.0
_EVENT_BYTES = 500


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
        self._taken_spool: Spool | None = None  # of what is being written
        self._is_cut_off = False
        self._begin()
        # Nothing that a run did may be lost because the program ends.
        atexit.register(_flush, weakref.ref(self))

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._begun: list[Event] = []  # not even in the spool yet
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._unspooled = 0  # how many of what waits are in no spool
        self._recorded = self._taken = self._written = 0  # how many events, ever
        self._postponed = 0  # how often the store was not to be written
        self._is_urgent = False
        self._is_closing = False
        self._losses: Counter[str] = Counter()
        self._told: set[str] = set()
        self._untold: list[str] = []
        self._thread: threading.Thread | None = None
        self._using = threading.Lock()  # the connection, by the thread
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    # SQLite's locks do not survive a fork: a child that has the parent's connection open, even if
    # it never touches it, believes to hold locks that it does not.

    def hold(self) -> bool:
        """Come to rest without a connection; False if that takes too long."""
        is_at_rest = self._using.acquire(timeout=_FORK_SECONDS)
        if is_at_rest:
            self._disconnect()
        self._is_at_rest = is_at_rest
        self._changed.acquire()
        return is_at_rest

    def release(self) -> None:
        """Go on after `hold`."""
        self._changed.release()
        if self._is_at_rest:
            self._using.release()

    def begin_anew(self, *, is_cut_off: bool) -> None:
        """Begin in a forked process: it has the parent's queue and files, but not its thread.

        Args:
            is_cut_off: SQLite was in use when the process forked. The child only spools, and
                others take that in.
        """
        for spool in (self._spool, self._taken_spool):
            if spool is not None:
                spool.close()
        self._spool = self._taken_spool = None
        keep_for_parent(self._connection)
        self._is_cut_off |= is_cut_off
        self._begin()

    def put(self, event: Event) -> None:
        """Have *event* written soon."""
        with self._changed:
            self._put(event)
        self._tell()

    def _put(self, event: Event) -> None:
        size = _size(event)
        if isinstance(event, SpanEnded) and size > self._queue_bytes:
            event = _without_content(event)
            size = _size(event)
            self._lose(1, "a step is larger than the queue, and so what it said")
        if self._is_closing:
            return self._lose(1, "the store is closed")
        if self._waiting_bytes + size > self._queue_bytes:
            return self._lose(1, "the queue is full")
        is_first = not (self._begun or self._waiting)
        self._begun.append(event)
        self._recorded += 1
        self._waiting_bytes += size
        if isinstance(event, SpanEnded | TraceEnded):
            self._save()
        if is_first:
            self._changed.notify_all()
        if self._is_cut_off:
            self._waiting, self._waiting_bytes = [], 0
        elif self._thread is None:
            self._start()
        return None

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="timestep-traces", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # too many threads, or the program ends: the spool remains
            self._untold.append(str(exc))
        else:
            self._thread = thread

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything so far is in the file; False when *timeout* seconds were short.

        Args:
            timeout: 30 by default.
        """
        with self._changed:
            self._save()
            self._is_urgent = True
            self._changed.notify_all()
            recorded, postponed = self._recorded, self._postponed
            self._changed.wait_for(
                lambda: self._thread is None or self._written >= recorded,
                _FLUSH_SECONDS if timeout is None else timeout,
            )
            is_written = self._written >= recorded and self._postponed == postponed
        self._tell()
        return is_written

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, and end the thread. Later events are lost, and counted.

        Args:
            timeout: How many seconds to wait, by default 5. What is not written then stays in
                the spool: this process or the next that opens the store takes it in.
        """
        timeout = _EXIT_SECONDS if timeout is None else timeout
        with self._changed:
            thread, was_closed = self._thread, self._is_closing
        is_written = self.flush(timeout)
        if not (is_written or was_closed):
            logger.warning(
                "%s cannot be written just now, another process may have it locked. The last "
                "steps lie beside it and are taken in when it is opened next.",
                self._path,
            )
        with self._changed:
            self._is_closing = True
            self._thread = None
            self._changed.notify_all()
        if thread is not None and is_written:
            thread.join(timeout)

    def _save(self) -> None:
        """Bring what has begun into the spool, redacted; the lock is held."""
        begun, self._begun = self._begun, []
        events, reasons = self._redaction.each(begun)
        for reason in reasons:
            self._lose(1, reason)
        self._waiting += events
        if not events:
            return
        # What fails here may yet be written to the store; if not, that is told when it is tried.
        if self._spool is None and self._unspooled:
            self._unspooled += len(events)
            return
        try:
            if self._spool is None:
                self._spool = Spool(self._path)
            self._spool.append(events)
        except Exception:  # noqa: BLE001 - content may be anything
            self._unspooled += len(events)

    # In the thread

    def _run(self) -> None:
        while (events := self._take()) is not None:
            with self._using:
                try:
                    self._write(self._connect(), events)
                except Exception as exc:  # noqa: BLE001 - whatever it is, the thread must live
                    self._postpone_or_lose(len(events), exc)
                    self._disconnect()
            self._tell()  # who waits for a flush has been told
            with self._changed:
                self._written = self._taken
                self._changed.notify_all()
        with self._using:
            self._disconnect()

    def _connect(self) -> sqlite3.Connection:
        if file_id(self._path) != self._opened:
            self._disconnect()  # somebody deleted or moved the file
        if self._connection is None:
            self._connection = connect(self._path, busy_seconds=_LOCKED_SECONDS)
            self._opened = file_id(self._path)
            if self._on_open is not None:
                self._on_open(self._connection)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _take(self) -> list[Event] | None:
        """The next events, as soon as there are some; None when the writer closes."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._begun
                    or self._waiting
                    or (self._losses and self._is_urgent)
                    or self._is_closing
                )
            )
            if not self._is_urgent:
                self._changed.wait_for(lambda: self._is_urgent or self._is_closing, _GATHER_SECONDS)
            self._save()
            events, self._waiting = self._waiting, []
            self._taken_spool, self._spool = self._spool, None
            self._taken_unspooled, self._unspooled = self._unspooled, 0
            self._waiting_bytes = 0
            self._is_urgent = False
            self._taken = self._recorded
            return None if self._is_closing and not events else events

    def _write(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        with self._changed:
            losses, self._losses = self._losses, Counter()
        try:
            reasons = write(connection, events, losses)
        except BaseException:
            with self._changed:
                self._losses.update(losses)
            raise
        with self._changed:
            self._untold += reasons
        self._drop_spool(Spool.delete)

    def _postpone_or_lose(self, count: int, exc: Exception) -> None:
        with self._changed:
            if self._taken_spool is not None and _may_pass(exc):
                self._untold.append(
                    f"{exc}; they lie beside it and are taken in when it is opened next"
                )
                self._lose(self._taken_unspooled, str(exc))
                self._postponed += 1
                self._drop_spool(Spool.close)
            else:
                self._lose(count, str(exc))
                self._drop_spool(Spool.delete)

    def _drop_spool(self, how: Callable[[Spool], None]) -> None:
        with self._changed:
            spool, self._taken_spool = self._taken_spool, None
            if spool is not None:
                how(spool)

    # The lock is held in the first, and by nobody in the second: who logs may record, too.

    def _lose(self, count: int, reason: str) -> None:
        if count:
            self._losses[reason] += count
            self._recorded += 1  # it is to be written, too
            self._untold.append(reason)

    def _tell(self) -> None:
        if not self._untold:
            return
        with self._changed:
            reasons = [why for why in dict.fromkeys(self._untold) if why not in self._told]
            self._untold = []
            self._told.update(reasons)
        for reason in reasons:
            logger.warning(
                "Some steps of runs are not recorded in %s: %s.", self._path, reason.rstrip(".")
            )


def _may_pass(exc: BaseException) -> bool:
    """True for a full disk, a lock, too many open files: what may be better the next time."""
    cause = exc.__cause__ if isinstance(exc, StoreError) else exc
    return isinstance(cause, OSError | sqlite3.OperationalError)


def _without_content(event: SpanEnded) -> SpanEnded:
    return event._replace(data=json.dumps({"type": event.kind}), text="", exchanges=())


def _size(event: Event) -> int:
    if not isinstance(event, SpanEnded):
        return _EVENT_BYTES
    bodies = sum(len(exchange.request) + len(exchange.response) for exchange in event.exchanges)
    return _EVENT_BYTES + len(event.data) + len(event.text) + bodies


def _flush(reference: "weakref.ref[Writer]") -> None:
    writer = reference()
    if writer is not None:
        writer.flush(_EXIT_SECONDS)
