"""From the Agents SDK's tracing into a store. The one module here that recording needs the SDK for."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from agents import TracingProcessor, set_trace_processors
from agents.tracing import (
    GenerationSpanData,
    ResponseSpanData,
    Span,
    SpanData,
    SpeechSpanData,
    Trace,
    TranscriptionSpanData,
)
from pydantic_core import PydanticSerializationError, to_json

from timestep.errors import ConfigurationError
from timestep.net import wire_bytes
from timestep.traces.records import Exchange, SpanEnded, SpanStarted, TraceEnded, TraceStarted
from timestep.traces.store import TraceStore

logger = logging.getLogger("timestep")

_NANOSECONDS = 1e9
_MOST_DEPTH = 30
_TOO_LARGE = 2**63


class TraceProcessor(TracingProcessor):
    """Records every run in *store*.

    It copies what a span holds when the span ends, stores no more than the SDK put there
    (so ``trace_include_sensitive_data=False`` is obeyed), and never raises into a run.
    """

    def __init__(self, store: TraceStore) -> None:
        self.store = store
        self._is_open = True
        wire_bytes.keep()

    def on_trace_start(self, trace: Trace) -> None:
        """Record that a run began."""
        try:
            self.store.record(trace_started(trace))
        except Exception as exc:  # noqa: BLE001 - recording must not break a run
            _report(exc)

    def on_trace_end(self, trace: Trace) -> None:
        """Record that a run ended."""
        try:
            self.store.record(TraceEnded(_encodable(trace.trace_id), datetime.now().timestamp()))  # noqa: DTZ005 - a timestamp has no zone
        except Exception as exc:  # noqa: BLE001 - recording must not break a run
            _report(exc)

    def on_span_start(self, span: Span[Any]) -> None:
        """Record that a step began."""
        try:
            self.store.record(span_started(span))
        except Exception as exc:  # noqa: BLE001 - recording must not break a run
            _report(exc)

    def on_span_end(self, span: Span[Any]) -> None:
        """Record how a step ended."""
        try:
            self.store.record(span_ended(span))
        except Exception as exc:  # noqa: BLE001 - recording must not break a run
            _report(exc)

    def force_flush(self) -> None:
        """Wait until everything so far is in the file."""
        self.store.flush()

    def shutdown(self, timeout: float | None = None) -> None:
        """Flush, and stop keeping the bytes of model calls."""
        if self._is_open:
            self._is_open = False
            wire_bytes.stop()
            self.store.close(timeout)


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

    No configuration is read. Keys of known services are found by their looks; to keep other
    configured keys out, pass ``secrets=timestep.configured_keys(settings)``.

    Args:
        path: The SQLite file.
        retention_days: Older runs are deleted; None keeps all.
        redact: Regular expressions; what they match is never stored nor sent.
        secrets: Exact texts that are never stored nor sent, such as keys.
        otlp: The base URL of an OTLP/HTTP receiver that gets every span too, such as
            ``http://localhost:4318``; needs ``timestep[otel]``.

    Returns:
        The store that is written.

    Raises:
        ValueError: A pattern in *redact* is no regular expression.
        ConfigurationError: *otlp* is given and OpenTelemetry is not installed.
    """
    global _installed  # noqa: PLW0603 - the SDK's processors are the process's, too
    # What may be missing comes first: from the store on, threads run and bytes are kept.
    exporters = [] if otlp is None else [_otlp_processor(otlp, redact, secrets)]
    store = TraceStore(path, retention_days=retention_days, redact=redact, secrets=secrets)
    processors = [TraceProcessor(store), *exporters]
    uninstall()
    set_trace_processors(processors)
    _installed = processors
    return store


def uninstall() -> None:
    """Write what waits, and record nothing from now on. The SDK's exporter does not come back."""
    global _installed  # noqa: PLW0603 - the SDK's processors are the process's, too
    if _installed:
        set_trace_processors([])
    for processor in _installed:
        processor.shutdown()
    _installed = []


_installed: list[TracingProcessor] = []


def _otlp_processor(url: str, redact: Sequence[str], secrets: Iterable[str]) -> TracingProcessor:
    try:
        from timestep.traces.live_otlp import OtlpProcessor  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"Sending spans to {url} needs {exc.name}: pip install 'timestep[otel]', or leave "
            "traces.otlp out."
        ) from exc
    return OtlpProcessor(url, redact=redact, secrets=secrets)


def span_started(span: Span[Any]) -> SpanStarted:
    """The beginning of *span*, copied."""
    data: SpanData = span.span_data
    return SpanStarted(
        span_id=_encodable(span.span_id),
        trace_id=_encodable(span.trace_id),
        parent_id=None if span.parent_id is None else _encodable(span.parent_id),
        kind=data.type,
        name=_name(data),
        started_at=_seconds(span.started_at),
    )


def span_ended(span: Span[Any]) -> SpanEnded:
    """The end of *span*, with everything it holds, copied."""
    data: SpanData = span.span_data
    exchanges = tuple(
        Exchange(kept.url, kept.status, kept.request, b"".join(kept.response))
        for kept in wire_bytes.take(span.span_id)
        if kept.request
    )
    content = _content(data, with_input=not exchanges)
    error = span.error
    return SpanEnded(
        span_id=_encodable(span.span_id),
        trace_id=_encodable(span.trace_id),
        kind=data.type,
        name=_name(data),
        ended_at=_seconds(span.ended_at),
        error=None if error is None else _json(error),
        data=_json(content),
        text=_search_text(data, content, error),
        seconds=_seconds(span.ended_at) - _seconds(span.started_at),
        exchanges=exchanges,
        **_numbers(data),
    )


def trace_started(trace: Trace) -> TraceStarted:
    """The beginning of a run, copied."""
    exported = trace.export() or {}
    metadata, group = exported.get("metadata"), exported.get("group_id")
    return TraceStarted(
        trace_id=_encodable(trace.trace_id),
        name=_encodable(trace.name),
        group_id=None if group is None else _encodable(group),
        metadata=_json(metadata) if metadata else None,
        started_at=datetime.now().timestamp(),  # noqa: DTZ005 - a timestamp has no zone
    )


def _content(data: SpanData, *, with_input: bool) -> dict[str, Any]:
    """What *data* exports, and what it holds for processors but does not export."""
    if isinstance(data, GenerationSpanData):
        content = data.export()
        if not with_input:
            del content["input"]  # it is a part of the stored request
        return content
    if isinstance(data, ResponseSpanData):
        response = data.response
        return {
            **data.export(),
            "input": data.input,
            "output": None if response is None else response.output,
            "instructions": None if response is None else response.instructions,
            "tools": None if response is None else response.tools,
        }
    if isinstance(data, TranscriptionSpanData | SpeechSpanData):
        exported = data.export()  # sound would only fill the disk
        for side in ("input", "output"):
            if isinstance(exported.get(side), dict):
                exported[side] = {**exported[side], "data": "[audio]"}
        return exported
    content = data.export()
    if content.get("type") == "custom" and data.type != "custom":
        return {"type": data.type, **content["data"]}  # a task or a turn
    return content


def _numbers(data: SpanData) -> dict[str, Any]:
    """The columns that lists and statistics need."""
    if isinstance(data, GenerationSpanData):
        config = data.model_config or {}
        durations: Mapping[str, int] = config.get("durations_ns") or {}
        return {
            "model": None if data.model is None else _encodable(data.model),
            **_tokens(data.usage),
            "first_token_seconds": config.get("time_to_first_token_seconds"),
            "load_seconds": _of_nanoseconds(durations.get("load_duration")),
            "prefill_seconds": _of_nanoseconds(durations.get("prompt_eval_duration")),
            "decode_seconds": _of_nanoseconds(durations.get("eval_duration")),
            "context_length": _countable(config.get("context_length")),
        }
    if isinstance(data, ResponseSpanData):
        model = None if data.response is None else str(data.response.model)
        return {"model": model or "response", **_tokens(data.usage or _usage_of(data))}
    return {}


def _usage_of(data: ResponseSpanData) -> dict[str, Any] | None:
    usage = None if data.response is None else data.response.usage
    return None if usage is None else usage.model_dump()


def _tokens(usage: Mapping[str, Any] | None) -> dict[str, Any]:
    if not usage:
        return {}
    return {name: _countable(usage.get(name)) for name in ("input_tokens", "output_tokens")}


def _countable(number: Any) -> Any:
    """*number*, or None when it is larger than a column holds: what a server counts may be anything."""
    return None if isinstance(number, int) and abs(number) >= _TOO_LARGE else number


def _encodable(text: object) -> str:
    """*text* with a question mark for each half of a surrogate pair, which no file can hold."""
    return str(text).encode(errors="replace").decode()


def _name(data: SpanData) -> str:
    """What a list calls a step."""
    return _encodable(_raw_name(data))


def _raw_name(data: SpanData) -> str:
    if isinstance(data, GenerationSpanData):
        return data.model or "model"
    if isinstance(data, ResponseSpanData):
        return "model" if data.response is None else str(data.response.model)
    for attribute in ("name", "to_agent", "server", "model"):
        if isinstance(value := getattr(data, attribute, None), str) and value:
            return value
    turn = getattr(data, "turn", None)
    return data.type if turn is None else str(turn)


def _search_text(data: SpanData, content: Mapping[str, Any], error: Any) -> str:
    """What a search finds a step by: what is new in it, so that a conversation is indexed once."""
    texts: list[str] = []
    if data.type in {"generation", "response", "function", "custom", "guardrail", "handoff"}:
        texts += _texts(_unanswered(getattr(data, "input", None)))
        texts += _texts(content.get("output"))
    if data.type in {"function", "custom", "guardrail", "handoff"}:
        texts.append(_name(data))
    if data.type == "custom":
        texts += _texts(content.get("data"))
    if error is not None:
        texts += _texts(dict(error))
    return _encodable("\n".join(texts))


def _unanswered(given: Any) -> Any:
    """The messages of *given* after the model's last own one; what is no list stays as it is."""
    if not isinstance(given, list):
        return given
    messages = cast("list[Any]", given)
    for index in range(len(messages) - 1, -1, -1):
        if _is_of_model(messages[index]):
            return messages[index + 1 :]
    return messages


def _is_of_model(message: Any) -> bool:
    if not isinstance(message, Mapping):
        return False
    item = cast("Mapping[str, Any]", message)
    return item.get("role") == "assistant" or item.get("type") in {"function_call", "reasoning"}


_NOT_TEXT = frozenset(
    {"id", "call_id", "tool_call_id", "type", "role", "status", "images", "logprobs", "object"}
)


def _texts(value: Any, depth: int = 0) -> list[str]:
    """All texts in *value*, without ids, types and pictures, down to a sane depth."""
    if isinstance(value, str):
        return [value] if value else []
    dump = getattr(value, "model_dump", None)
    members = dump(exclude_unset=True) if callable(dump) else value
    inner: Sequence[Any]
    if isinstance(members, Mapping):
        named = cast("Mapping[str, Any]", members)
        inner = [member for name, member in named.items() if name not in _NOT_TEXT]
    elif isinstance(members, list | tuple):
        inner = cast("Sequence[Any]", members)
    else:
        return []
    if depth == _MOST_DEPTH:
        return []
    return [text for item in inner for text in _texts(item, depth + 1)]


def _json(value: Any) -> str:
    """*value* as JSON, whatever it holds: what JSON cannot say is shown as Python shows it."""
    try:
        return to_json(value, fallback=repr, inf_nan_mode="strings", bytes_mode="base64").decode()
    except (PydanticSerializationError, ValueError, RecursionError):
        try:
            return json.dumps(value, default=repr, skipkeys=True)
        except (TypeError, ValueError, RecursionError):
            return json.dumps({"unreadable": type(value).__name__})


def _seconds(iso: str | None) -> float:
    return datetime.fromisoformat(iso).timestamp() if iso else datetime.now().timestamp()  # noqa: DTZ005 - a timestamp has no zone


def _of_nanoseconds(duration: int | None) -> float | None:
    duration = _countable(duration)
    return None if duration is None else duration / _NANOSECONDS


def _report(exc: Exception) -> None:
    logger.warning("A step of the run is not recorded: %s: %s", type(exc).__name__, exc)
