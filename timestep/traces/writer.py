"""Writes events to the store from a thread of its own, so that a run never waits for a disk.

A writer is in one of these states:

    unused      nothing was recorded yet: no thread, no file
    waiting     the thread waits for an event
    gathering   an event came; the thread waits `_GATHER_SECONDS` for more of them
    writing     the thread takes keys out of them and commits them in one transaction
    locked out  another process holds the file; the thread tries again until it is free
    closed      later events are lost, and counted; a thread that is locked out goes on trying

A kill therefore costs the open steps, and what ended while gathering and writing. Before a fork
the thread comes to rest without a connection, in any state; the child's writer begins unused.
"""

import atexit
import logging
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from timestep.net.forks import keep_for_parent
from timestep.traces.connections import connect, file_id
from timestep.traces.event_queue import Batch, EventQueue
from timestep.traces.records import Copied, Event
from timestep.traces.redaction import Redaction
from timestep.traces.rows import write
from timestep.traces.transactions import is_locked

logger = logging.getLogger("timestep")

QUEUE_BYTES = 64 * 2**20
"""How much may wait to be written. What does not fit is lost, and counted."""

_GATHER_SECONDS = 0.15
"""How long events wait for others: a transaction costs more than what it writes."""

_BUSY_SECONDS = 0.1
_RETRY_SECONDS = 0.02
"""How long one try waits for a locked file, and how long the thread rests before the next."""

_FLUSH_SECONDS = 30.0
_FORK_SECONDS = 5.0
_EXIT_SECONDS = 5.0


class Writer:
    """A bounded queue, and the thread that empties it into the file at *path*.

    Nothing here raises into the caller. What cannot be written is counted, logged once, and noted
    in the store as soon as that works again.

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
        self._exit_seconds = _EXIT_SECONDS
        self._begin()
        atexit.register(_end, weakref.ref(self))

    def _begin(self) -> None:
        self._queue = EventQueue(self._queue_bytes, str(self._path))
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._using = threading.Lock()  # held while the connection is used
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None

    def put(self, event: Event | Copied) -> None:
        """Have *event* written soon."""
        self._queue.put(event)
        if self._thread is None and not self._queue.refuses:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="timestep-traces", daemon=True)
        with self._starting:
            if self._thread is not None:
                return
            try:
                thread.start()
            except RuntimeError as exc:  # too many threads, or the program ends
                self._queue.warn(f"{exc}; they wait in memory")
            else:
                self._thread = thread

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the file holds everything recorded so far, or says what was lost.

        Args:
            timeout: Seconds; 30 by default.

        Returns:
            False when the time was too short, or when the file could not be written.
        """
        seconds = _FLUSH_SECONDS if timeout is None else timeout
        return self._queue.flush(seconds, is_served=lambda: self._thread is not None)

    def close(self, timeout: float | None = None) -> None:
        """Write what waits, and end the thread. Later events are lost, and counted.

        Args:
            timeout: How many seconds to wait, 5 by default. A locked file may still be written
                after that, for as long as the program runs.
        """
        if not self._queue.refuses:
            self.end(timeout)
        thread, self._thread = self._thread, None
        self._queue.refuse("the store is closed")
        if thread is not None and self._queue.is_settled:
            thread.join(timeout)

    def end(self, timeout: float | None = None) -> None:
        """Write what waits before the program ends, and say so when that takes too long."""
        self.flush(self._exit_seconds if timeout is None else timeout)
        if not self._queue.is_settled:
            self._exit_seconds = 0.0  # one wait is enough
            logger.warning(
                "%s cannot be written just now; another process may have locked it. The last "
                "steps are lost unless it is free before this program ends.",
                self._path,
            )

    def losses(self) -> dict[str, int]:
        """Return the losses that are not noted in the file, as counts by reason."""
        return self._queue.losses()

    # Forks. SQLite's locks do not survive one: a child that has its parent's connection open, even
    # if it never touches it, believes it holds locks that it does not hold.

    def hold(self) -> bool:
        """Come to rest without a connection; return False when that takes too long."""
        self._is_at_rest = self._using.acquire(timeout=_FORK_SECONDS)
        if self._is_at_rest:
            self._disconnect()
        return self._is_at_rest

    def release(self) -> None:
        """Go on after `hold`."""
        if self._is_at_rest:
            self._using.release()

    def begin_in_child(self, *, can_write: bool) -> None:
        """Begin unused in a forked process; what waits is left to the parent.

        Args:
            can_write: False when SQLite was in use while the process forked; everything this
                process records is lost then.
        """
        keep_for_parent(self._connection)
        self._begin()
        if not can_write:
            self._queue.refuse("this process was forked while the file was in use")

    # In the thread

    def _run(self) -> None:
        queue = self._queue
        while (batch := queue.take(_GATHER_SECONDS)) is not None:
            self._write(queue, batch)
        with self._using:
            self._disconnect()

    def _write(self, queue: EventQueue, batch: Batch) -> None:
        events, reasons = self._redaction.each(batch.events)
        losses = batch.losses + Counter(reasons)
        while True:
            with self._using:
                try:
                    reasons += write(self._connect(), events, losses)
                    error = None
                except Exception as exc:  # noqa: BLE001 - the thread must live, whatever it is
                    self._disconnect()
                    error = exc
            if error is None:
                return queue.settle(reasons)
            if not (is_locked(error) or is_locked(error.__cause__)):
                return queue.fail(batch, str(error))
            time.sleep(_RETRY_SECONDS)  # a fork that waits has its turn

    def _connect(self) -> sqlite3.Connection:
        if file_id(self._path) != self._opened:
            self._disconnect()  # the file was deleted or moved
        if self._connection is None:
            self._connection = connect(self._path, busy_seconds=_BUSY_SECONDS)
            self._opened = file_id(self._path)
            if self._on_open is not None:
                self._on_open(self._connection)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _end(reference: "weakref.ref[Writer]") -> None:
    writer = reference()
    if writer is not None:
        writer.end()
