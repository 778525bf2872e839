"""Sends every span to an OTLP receiver as it ends. Needs the extra ``otel``."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from agents import TracingProcessor
from agents.tracing import Span as SdkSpan
from agents.tracing import Trace as SdkTrace
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from timestep.traces.from_sdk import span_ended, span_started, trace_started
from timestep.traces.otlp import exporter, otel_root, otel_span
from timestep.traces.records import Span, SpanEnded, SpanStarted, Trace
from timestep.traces.redaction import Redaction

logger = logging.getLogger("timestep")


class OtlpProcessor(TracingProcessor):
    """Hands finished spans to OpenTelemetry's batch processor, which sends them in its thread.

    Args:
        base_url: Of the OTLP/HTTP receiver.
        redact: Regular expressions; what they match is never sent. Keys never are.
        secrets: Exact texts that are never sent either.
    """

    def __init__(
        self, base_url: str, *, redact: Sequence[str] = (), secrets: Iterable[str] = ()
    ) -> None:
        self._batch = BatchSpanProcessor(exporter(base_url))
        self._redaction = Redaction(redact, secrets)
        self._groups: dict[str, tuple[str | None, float]] = {}

    def on_trace_start(self, trace: SdkTrace) -> None:
        """Remember when the run began, and its group."""
        group = (trace.export() or {}).get("group_id")
        clean = None if group is None else self._redaction.text(group)
        self._groups[trace.trace_id] = (clean, time.time())

    def on_trace_end(self, trace: SdkTrace) -> None:
        """Send the run as the root of its spans."""
        try:
            group, began = self._groups.pop(trace.trace_id, (None, time.time()))
            event = trace_started(trace)
            metadata = None if event.metadata is None else self._redaction.json(event.metadata)
            whole = Trace(
                event.trace_id,
                self._redaction.text(event.name),
                began,
                time.time(),
                group,
                None if metadata is None else json.loads(metadata),
            )
            self._batch.on_end(otel_root(whole))
        except Exception as exc:  # noqa: BLE001 - sending must not break a run
            _report(exc)

    def on_span_start(self, span: SdkSpan[Any]) -> None:
        """Nothing: a span is sent when it ends."""

    def on_span_end(self, span: SdkSpan[Any]) -> None:
        """Send a step."""
        try:
            group, _ = self._groups.get(span.trace_id, (None, 0.0))
            record = self._record(span_started(span), span_ended(span))
            self._batch.on_end(otel_span(record, group))
        except Exception as exc:  # noqa: BLE001 - sending must not break a run
            _report(exc)

    def force_flush(self) -> None:
        """Send what waits."""
        self._batch.force_flush()

    def shutdown(self, timeout: float | None = None) -> None:
        """Send what waits, and end the thread."""
        self._batch.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry's

    def _record(self, began: SpanStarted, ended: SpanEnded) -> Span:
        error = None if ended.error is None else json.loads(self._redaction.json(ended.error))
        return Span(
            span_id=began.span_id,
            trace_id=began.trace_id,
            parent_id=began.parent_id,
            kind=began.kind,
            name=self._redaction.text(ended.name),
            started_at=began.started_at,
            ended_at=ended.ended_at,
            error=error,
            data=json.loads(self._redaction.json(ended.data)),
            model=None if ended.model is None else self._redaction.text(ended.model),
            input_tokens=ended.input_tokens,
            output_tokens=ended.output_tokens,
            first_token_seconds=ended.first_token_seconds,
            load_seconds=ended.load_seconds,
            prompt_seconds=ended.prompt_seconds,
            output_seconds=ended.output_seconds,
            context_length=ended.context_length,
            outcome=ended.outcome,
        )


def _report(exc: Exception) -> None:
    logger.warning("A step of the run is not sent: %s: %s", type(exc).__name__, exc)
