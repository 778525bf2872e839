"""`TraceStore`: records runs in one SQLite file, and reads them."""

import logging
import math
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from timestep.net.forks import hold_during_forks
from timestep.traces.connections import connect
from timestep.traces.errors import StoreError
from timestep.traces.maintenance import describe_loss, problems, prune
from timestep.traces.reader import TraceReader
from timestep.traces.records import Copied, Event
from timestep.traces.redaction import Redaction
from timestep.traces.rows import write
from timestep.traces.transactions import is_locked
from timestep.traces.writer import QUEUE_BYTES, Writer

_DAY = 86_400.0

logger = logging.getLogger("timestep")


class TraceStore(TraceReader):
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
        super().__init__(path)
        is_number = isinstance(retention_days, int | float) and retention_days is not True
        if retention_days is not None and not (is_number and 0 < retention_days < math.inf):
            raise ValueError("retention_days is not a number of days; leave it out to keep all.")
        self._retention_days = retention_days
        self._redaction = Redaction(redact, secrets)
        self.queue_bytes = queue_bytes
        self._writer = Writer(
            self.path, self._redaction, queue_bytes=queue_bytes, on_open=self._delete_old_runs
        )
        hold_during_forks(self)

    def record(self, event: Event | Copied) -> None:
        """Have *event* written soon; never raises, never waits for another process.

        It is in the file within 200 ms, unless another process holds the file or the machine leaves
        this one no CPU time.
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
        super().close()

    def hold(self) -> None:
        """Come to rest while the process forks."""
        self._is_at_rest = self._writer.hold()

    def release(self) -> None:
        """Go on after the process forked."""
        self._writer.release()

    def forget_connections(self) -> None:
        """Begin without connections in a forked process."""
        self._writer.begin_in_child(can_write=self._is_at_rest and self._reading.is_at_rest)

    def verify(self) -> list[str]:
        """Return what is wrong with the file, a sentence each; empty when it is sound.

        What this process lost and could not note in the file is listed, too.
        """
        lost = self._writer.losses().items()
        return [*self._reading.run(problems), *(describe_loss(count, why) for why, count in lost)]

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
            # What is to be written now must not be lost for that.
            logger.exception("Old runs in %s cannot be deleted.", self.path)
