"""The tracing processor that records every run in a store."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from agents import TracingProcessor
from agents.tracing import Span, Trace

from timestep.net import wire_bytes
from timestep.traces.from_sdk import span_ended, span_started, trace_ended, trace_started
from timestep.traces.records import Event
from timestep.traces.store import TraceStore

logger = logging.getLogger("timestep")


class TraceProcessor(TracingProcessor):
    """Records every run in *store*.

    It copies what a span holds when the span ends. It stores only what the SDK put there, so
    ``trace_include_sensitive_data=False`` is obeyed. It never raises into a run.
    """

    def __init__(self, store: TraceStore) -> None:
        self.store = store
        self._is_open = True
        wire_bytes.keep()

    def on_trace_start(self, trace: Trace) -> None:
        """Record that a run started."""
        self._record(trace_started, trace)

    def on_trace_end(self, trace: Trace) -> None:
        """Record that a run ended."""
        self._record(trace_ended, trace)

    def on_span_start(self, span: Span[Any]) -> None:
        """Record that a step started."""
        self._record(span_started, span)

    def on_span_end(self, span: Span[Any]) -> None:
        """Record how a step ended."""
        self._record(partial(span_ended, most_bytes=self.store.queue_bytes), span)

    def force_flush(self) -> None:
        """Wait until everything so far is in the file."""
        self.store.flush()

    def shutdown(self, timeout: float | None = None) -> None:
        """Write what waits, and stop keeping the bytes of model calls."""
        if self._is_open:
            self._is_open = False
            wire_bytes.stop()
            self.store.close(timeout)

    def _record(self, copy: Callable[[Any], Event], what: Trace | Span[Any]) -> None:
        try:
            self.store.record(copy(what))
        except Exception as exc:  # noqa: BLE001 - recording must not break a run
            logger.warning("A step of the run is not recorded: %s: %s", type(exc).__name__, exc)
