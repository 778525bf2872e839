"""Sends every span to an OTLP receiver as it ends. Needs the extra ``otel``."""

import json
import logging
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar, cast

from agents import TracingProcessor
from agents.tracing import Span as SdkSpan
from agents.tracing import Trace as SdkTrace
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from timestep.traces.columns import read
from timestep.traces.from_sdk import span_ended, span_started, trace_started
from timestep.traces.otlp import exporter, otel_root, otel_span
from timestep.traces.records import Event, Span, SpanEnded, Trace, TraceStarted
from timestep.traces.redaction import Redaction

logger = logging.getLogger("timestep")

_Event = TypeVar("_Event", bound=Event)
_FIELDS = {field.name for field in fields(Span)}


class OtlpProcessor(TracingProcessor):
    """Hands finished spans to OpenTelemetry's batch processor, which sends them in its thread."""

    def __init__(
        self, base_url: str, *, redact: Sequence[str] = (), secrets: Iterable[str] = ()
    ) -> None:
        self._batch = BatchSpanProcessor(exporter(base_url))
        self._redaction = Redaction(redact, secrets)
        self._begun: dict[str, TraceStarted] = {}

    def on_trace_start(self, trace: SdkTrace) -> None:
        """Remember the run, whose span is sent last."""
        with _reported():
            self._begun[trace.trace_id] = self._clean(trace_started(trace))

    def on_trace_end(self, trace: SdkTrace) -> None:
        """Send the run as the root of its spans."""
        with _reported():
            began = self._begun.pop(trace.trace_id, None) or self._clean(trace_started(trace))
            metadata = json.loads(began.metadata or "null")
            whole = Trace(
                began.trace_id, began.name, began.started_at, time.time(), began.group_id, metadata
            )
            self._batch.on_end(otel_root(whole))

    def on_span_start(self, span: SdkSpan[Any]) -> None:
        """Nothing: a span is sent when it ends."""

    def on_span_end(self, span: SdkSpan[Any]) -> None:
        """Send a step."""
        with _reported():
            run = self._begun.get(span.trace_id)
            record = self._record(read(span_started(span)), read(span_ended(span)))
            self._batch.on_end(otel_span(record, run and run.group_id))

    def force_flush(self) -> None:
        """Send what waits."""
        self._batch.force_flush()

    def shutdown(self, timeout: float | None = None) -> None:
        """Send what waits, and end the thread."""
        self._batch.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry's

    def _record(self, began: Event, ended: Event) -> Span:
        ended = self._clean(cast("SpanEnded", ended)._replace(exchanges=()))
        known = {**began._asdict(), **ended._asdict()}
        known |= {"error": json.loads(ended.error or "null"), "data": json.loads(ended.data)}
        return Span(**{name: value for name, value in known.items() if name in _FIELDS})

    def _clean(self, event: _Event) -> _Event:
        return cast("_Event", self._redaction.events([event])[0])


@contextmanager
def _reported() -> Generator[None]:
    """Log what goes wrong: sending must not break a run."""
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - as above
        logger.warning("A step of the run is not sent: %s: %s", type(exc).__name__, exc)
