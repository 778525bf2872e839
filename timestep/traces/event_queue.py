"""The events that wait to be written, in bounded memory, and what was lost on the way."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from timestep.traces.records import (
    EVENT_BYTES,
    Copied,
    Event,
    Exchange,
    SpanBegun,
    SpanCopied,
    SpanCut,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)

logger = logging.getLogger("timestep")


@dataclass(frozen=True)
class Batch:
    """What the writer takes from the queue at once: events, and lost ones by their reason."""

    events: Sequence[Event | Copied]
    losses: Counter[str]


class EventQueue:
    """A queue of at most *most_bytes*, filled by any thread and emptied by one.

    What does not fit is counted as lost. A loss is logged once for each reason, and given to the
    writer with the next batch, to be noted in the store.

    Args:
        most_bytes: How much may wait.
        name: What is recorded into, for messages.
    """

    def __init__(self, most_bytes: int, name: str) -> None:
        self._most_bytes = most_bytes
        self._name = name
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._events: list[Event | Copied] = []
        self._bytes = 0
        self._losses: Counter[str] = Counter()
        self._logged: set[str] = set()
        self._not_logged: list[str] = []
        self._came = self._taken = self._settled = 0  # events and losses, ever
        self._failures = 0  # batches that could not be written
        self._is_urgent = False
        self._refusal: str | None = None

    # For those who record. Messages are logged without the lock: a log handler may record, too.

    def put(self, event: Event | Copied) -> None:
        """Add *event*, or count it as lost."""
        with self._lock:
            self._put(event)
        if self._not_logged:
            self._log()

    def _put(self, event: Event | Copied) -> None:
        if self._refusal is not None:
            return self._lose(self._refusal)
        size = _size(event)
        if self._bytes + size > self._most_bytes:
            event = _shortened(event, is_too_large=size > self._most_bytes)
            size = _size(event)
        if isinstance(event, SpanCut):
            self._lose("a step is larger than the queue, so its content is left out")
        if self._bytes + size > self._most_bytes:
            return self._lose("the queue is full")
        self._bytes += size
        self._events.append(event)
        self._came += 1
        if len(self._events) == 1:
            self._changed.notify_all()
        return None

    def flush(self, timeout: float, *, is_served: Callable[[], bool]) -> bool:
        """Wait until everything so far is settled; return True when the file tells all of it.

        Args:
            timeout: Seconds to wait at most.
            is_served: Returns False once no thread empties the queue.
        """
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            came, failures = self._came, self._failures
            self._changed.wait_for(lambda: self._settled >= came or not is_served(), timeout)
            is_written = self._settled >= came and self._failures == failures
        self._log()
        return is_written

    def refuse(self, reason: str) -> None:
        """Count every later event as lost because of *reason*; what waits is still written."""
        with self._changed:
            self._refusal = reason
            self._changed.notify_all()

    @property
    def is_settled(self) -> bool:
        """True when nothing waits and nothing is being written."""
        with self._changed:
            return self._settled >= self._came

    @property
    def refuses(self) -> bool:
        """True when later events are lost."""
        return self._refusal is not None

    def losses(self) -> dict[str, int]:
        """Return the losses that are not noted in the store, as counts by reason."""
        with self._changed:
            return dict(self._losses)

    # For the one thread that writes

    def take(self, gather_seconds: float) -> Batch | None:
        """Wait for events and return them, or None once the queue refuses and is empty.

        Args:
            gather_seconds: How long to wait for more after the first, unless somebody flushes.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._events or self._is_due() or self._refusal is not None
            )
            if not self._is_urgent and self._refusal is None:
                self._changed.wait_for(
                    lambda: self._is_urgent or self._refusal is not None, gather_seconds
                )
            if self._refusal is not None and not (self._events or self._is_due()):
                return None
            batch = Batch(self._events, self._losses)
            self._events, self._losses = [], Counter()
            self._bytes = 0
            self._is_urgent = False
            self._taken = self._came
        return batch

    def _is_due(self) -> bool:
        return bool(self._losses) and self._is_urgent

    def settle(self, lost: Iterable[str] = ()) -> None:
        """Note that the batch is in the file. *lost* has the reason for each event that is not.

        The file counts the lost events. This logs them.
        """
        with self._changed:
            self._not_logged += lost
        self._log()  # before a flush that waits for this returns
        with self._changed:
            self._settled = self._taken
            self._changed.notify_all()

    def fail(self, batch: Batch, reason: str) -> None:
        """Note that *batch* could not be written: its events are lost."""
        with self._changed:
            self._losses.update(batch.losses)
            if batch.events:
                self._losses[reason] += len(batch.events)
            self._failures += 1
        self.settle([reason])

    def warn(self, reason: str) -> None:
        """Log *reason* once, without counting a loss."""
        with self._changed:
            self._not_logged.append(reason)
        self._log()

    def _lose(self, reason: str) -> None:
        self._losses[reason] += 1
        self._came += 1  # the loss is to be written, too
        self._not_logged.append(reason)

    def _log(self) -> None:
        with self._changed:
            reasons = [why for why in dict.fromkeys(self._not_logged) if why not in self._logged]
            self._not_logged = []
            self._logged.update(reasons)
        for reason in reasons:
            logger.warning(
                "Some steps of runs are not recorded in %s: %s.", self._name, reason.rstrip(".")
            )


def _shortened(event: Event | Copied, *, is_too_large: bool) -> Event | Copied:
    """Return *event*, which does not fit, without what may be left out."""
    if isinstance(event, SpanStarted | SpanBegun):
        return event._replace(question=None)  # only the step itself must not be lost
    if isinstance(event, SpanEnded) and is_too_large:
        content = json.dumps({"type": event.kind})
        return SpanCut(*event._replace(data=content, text="", exchanges=()))
    return event


def _size(event: Event | Copied) -> int:
    if isinstance(event, SpanCopied):
        return EVENT_BYTES + len(event.data) + _bytes_of(event.exchanges)
    if isinstance(event, SpanEnded):
        return EVENT_BYTES + len(event.data) + len(event.text) + _bytes_of(event.exchanges)
    if isinstance(event, TraceStarted | TraceEnded):
        return EVENT_BYTES
    return EVENT_BYTES + len(event.question or "")


def _bytes_of(exchanges: Sequence[Exchange]) -> int:
    return sum([len(exchange.request) + len(exchange.response) for exchange in exchanges])
