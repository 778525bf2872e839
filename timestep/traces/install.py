"""Records the runs of this process: the SDK's processor, and how it is turned on and off."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agents import TracingProcessor
from agents.tracing import Span, Trace

from timestep.errors import ConfigurationError
from timestep.net import wire_bytes
from timestep.net.extras import install_hint
from timestep.traces.from_sdk import span_ended, span_started, trace_ended, trace_started
from timestep.traces.records import Copied, Event
from timestep.traces.sdk_processors import use_only
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
        self._span_ended = partial(span_ended, most_bytes=store.queue_bytes)
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
        self._record(self._span_ended, span)

    def force_flush(self) -> None:
        """Wait until everything so far is in the file."""
        self.store.flush()

    def shutdown(self, timeout: float | None = None) -> None:
        """Write what waits, and stop keeping the bytes of model calls."""
        if self._is_open:
            self._is_open = False
            wire_bytes.stop()
            self.store.close(timeout)

    def _record(self, copy: Callable[[Any], Event | Copied], what: Trace | Span[Any]) -> None:
        try:
            self.store.record(copy(what))
        except Exception as exc:  # noqa: BLE001 - recording must not break a run
            logger.warning("A step of the run is not recorded: %s: %s", type(exc).__name__, exc)


def install(
    path: Path | str,
    *,
    retention_days: float | None = None,
    redact: Sequence[str] = (),
    secrets: Iterable[str] = (),
    otlp: str | None = None,
) -> TraceStore:
    """Record every run of this process in the file at *path*, and send it nowhere else.

    This replaces the SDK's processors, among them the one that exports to OpenAI: the prompts
    of local models stay on this machine. Installing again replaces what was installed before.

    No configuration is read. Keys of known services are recognised by their shape; to keep other
    configured keys out, pass ``secrets=timestep.configured_keys(settings)``.

    Args:
        path: The SQLite file.
        retention_days: Older runs are deleted; None keeps all.
        redact: Regular expressions; what they match is neither stored nor sent.
        secrets: Exact texts that are neither stored nor sent, such as keys.
        otlp: The base URL of an OTLP/HTTP receiver that gets every span too, such as
            ``http://localhost:4318``; needs the extra ``otel``.

    Returns:
        The store that is written.

    Raises:
        ValueError: A pattern in *redact* is not a regular expression.
        ConfigurationError: *otlp* is given and OpenTelemetry is not installed.
    """
    global _installed  # noqa: PLW0603 - the SDK's processors are global, too
    # A package may be missing; find out before anything is switched on.
    exporters = [] if otlp is None else [_otlp_processor(otlp, redact, secrets)]
    store = TraceStore(path, retention_days=retention_days, redact=redact, secrets=secrets)
    processors: list[TracingProcessor] = [TraceProcessor(store), *exporters]
    uninstall()
    use_only(processors)
    _installed = processors
    return store


def uninstall() -> None:
    """Write what waits and stop recording. The SDK's exporter does not come back."""
    global _installed  # noqa: PLW0603 - the SDK's processors are global, too
    if _installed:
        use_only([])
    for processor in _installed:
        processor.shutdown()
    _installed = []


_installed: list[TracingProcessor] = []


def _otlp_processor(url: str, redact: Sequence[str], secrets: Iterable[str]) -> TracingProcessor:
    try:
        from timestep.traces.live_otlp import OtlpProcessor  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"Sending spans to {url} needs the package {exc.name}. Leave traces.otlp out, or add "
            f"the package. {install_hint('otel')}"
        ) from exc
    return OtlpProcessor(url, redact=redact, secrets=secrets)
