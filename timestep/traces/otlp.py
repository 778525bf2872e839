"""Recorded spans as OpenTelemetry spans, sent to an OTLP/HTTP receiver. Needs the extra ``otel``.

Source: OpenTelemetry semantic conventions for generative AI (``gen_ai.*``), version 0.1.0 of
``open-telemetry/semantic-conventions-genai``: client inference, agents (a workflow is one, named by
``gen_ai.agent.name``), tools, and the JSON of the input and output messages.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from timestep.net.json_parts import mapping
from timestep.net.version import __version__
from timestep.routing import split_prefix
from timestep.traces.conversation import Message, answered, asked
from timestep.traces.errors import StoreError
from timestep.traces.records import Span, Trace
from timestep.traces.summary import error_type
from timestep.traces.text import one_line

_NANOSECONDS = 1_000_000_000
_PATH = "/v1/traces"
_SETTINGS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty")


class OtlpError(StoreError):
    """The receiver refused the spans."""


def exporter(base_url: str) -> OTLPSpanExporter:
    """Return an exporter to the receiver at *base_url*, such as ``http://localhost:4318``.

    Headers and timeouts come from OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_HEADERS``).
    """
    url = base_url.rstrip("/")
    return OTLPSpanExporter(endpoint=url if url.endswith(_PATH) else url + _PATH)


def send(traces: Iterable[Trace], base_url: str) -> int:
    """Send whole runs to the receiver at *base_url*; return the number of spans."""
    spans = [span for trace in traces for span in otel_spans(trace)]
    sender = exporter(base_url)
    try:
        if sender.export(spans) is not SpanExportResult.SUCCESS:
            raise OtlpError(
                f"{base_url} did not take the spans. Is an OTLP/HTTP receiver listening there?"
            )
    finally:
        sender.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry's
    return len(spans)


def otel_spans(trace: Trace) -> list[ReadableSpan]:
    """Return the finished spans of a run, the run itself first."""
    spans = [otel_span(span, trace.group_id) for span in trace.spans if span.ended_at is not None]
    return [otel_root(trace), *spans] if trace.ended_at is not None else spans


def otel_root(trace: Trace) -> ReadableSpan:
    """Return a finished run as the span around all others."""
    whole = Span(
        span_id=trace.trace_id,
        trace_id=trace.trace_id,
        parent_id=None,
        kind="workflow",
        name=trace.name,
        started_at=trace.started_at,
        ended_at=trace.ended_at,
        data=trace.metadata or {},
    )
    return otel_span(whole, trace.group_id)


def otel_span(span: Span, group_id: str | None = None) -> ReadableSpan:
    """Return a finished step of a run as a span."""
    operation = _OPERATIONS.get(span.kind)
    attributes = {
        "gen_ai.operation.name": operation,
        "timestep.span.kind": span.kind,
        "gen_ai.conversation.id": group_id,
        **_attributes(span),
    }
    status = Status(StatusCode.UNSET)
    if span.error is not None:
        attributes["error.type"] = _error_type(span.error)
        status = Status(StatusCode.ERROR, one_line(dict(span.error), 1000))
    is_root = span.span_id == span.trace_id
    ended_at = span.ended_at or span.started_at
    return ReadableSpan(
        name=f"{operation or span.kind} {attributes.get('gen_ai.request.model') or span.name}",
        context=_context(span.trace_id, span.span_id),
        parent=None if is_root else _context(span.trace_id, span.parent_id or span.trace_id),
        resource=Resource.create({"service.name": "timestep"}),
        attributes={name: value for name, value in attributes.items() if value is not None},
        kind=SpanKind.CLIENT if span.is_model_call else SpanKind.INTERNAL,
        status=status,
        start_time=int(span.started_at * _NANOSECONDS),
        end_time=int(ended_at * _NANOSECONDS),
        instrumentation_scope=InstrumentationScope("timestep", __version__),
    )


_OPERATIONS = {
    "generation": "chat",
    "response": "chat",
    "function": "execute_tool",
    "agent": "invoke_agent",
    "workflow": "invoke_workflow",
}


def _attributes(span: Span) -> dict[str, Any]:
    match span.kind:
        case "generation" | "response":
            return _model_call(span)
        case "function":
            return {
                "gen_ai.tool.name": span.name,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.arguments": _content(span.data.get("input")),
                "gen_ai.tool.call.result": _content(span.data.get("output")),
            }
        case "agent":
            return {"gen_ai.agent.name": span.name}
        case "workflow":
            metadata = {f"timestep.metadata.{k}": _content(v) for k, v in span.data.items()}
            return {"gen_ai.agent.name": span.name, **metadata}
        case _:
            return {}


def _model_call(span: Span) -> dict[str, Any]:
    config: Mapping[str, Any] = span.data.get("model_config") or {}
    address = urlsplit(str(config.get("base_url") or ""))
    given, answer = asked(span), answered(span)
    system = [message for message in given if message.role == "system"]
    name = str(config.get("model_name") or span.model)
    reason = _finish_reason(span, answer)
    return {
        "gen_ai.provider.name": _provider(span, config),
        "gen_ai.request.model": name,
        "gen_ai.response.model": None if span.error else name,
        "gen_ai.response.finish_reasons": [reason] if reason else None,
        "gen_ai.usage.input_tokens": span.input_tokens,
        "gen_ai.usage.output_tokens": span.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": _detail(span, "input", "cached_tokens"),
        "gen_ai.usage.reasoning.output_tokens": _detail(span, "output", "reasoning_tokens"),
        "gen_ai.response.time_to_first_chunk": span.first_token_seconds,
        "server.address": address.hostname,
        "server.port": address.port,
        **{f"gen_ai.request.{name}": config.get(name) for name in _SETTINGS},
        "gen_ai.system_instructions": _json([_text(message.text) for message in system]),
        "gen_ai.input.messages": _messages(m for m in given if m.role != "system"),
        "gen_ai.output.messages": _messages(answer, reason),
        "timestep.load_seconds": span.load_seconds,
        "timestep.prompt_seconds": span.prompt_seconds,
        "timestep.output_seconds": span.output_seconds,
        "timestep.context_length": span.context_length,
    }


def _provider(span: Span, config: Mapping[str, Any]) -> str:
    """Return who serves a model: Ollama, the prefix of its name, or OpenAI."""
    if config.get("model_impl") == "timestep.ollama":
        return "ollama"
    prefix, _ = split_prefix(span.model or "")
    return "openai" if prefix is None else prefix


def _finish_reason(span: Span, answer: Sequence[Message]) -> str | None:
    if span.outcome == "cut":
        return "length"
    if span.error is not None or not answer:
        return None
    return "tool_call" if any(message.calls for message in answer) else "stop"


def _detail(span: Span, side: str, name: str) -> int | None:
    """Return a detail of the recorded usage; None when there are no such tokens."""
    usage = mapping(span.data.get("usage"))
    value = mapping(usage.get(f"{side}_tokens_details")).get(name)
    return value if isinstance(value, int) and value else None


def _error_type(error: Mapping[str, Any]) -> str:
    """Return the class of an error, of which there are few, or what failed."""
    return error_type(error) or str(error.get("message") or "_OTHER")


def _messages(messages: Iterable[Message], finish_reason: str | None = None) -> str | None:
    ending = {} if finish_reason is None else {"finish_reason": finish_reason}
    return _json(
        [{"role": message.role, "parts": _parts(message), **ending} for message in messages]
    )


def _parts(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.call_id, "response": message.text}]
    parts: list[dict[str, Any]] = []
    if message.thinking:
        parts.append({"type": "reasoning", "content": message.thinking})
    if message.text:
        parts.append(_text(message.text))
    parts += [
        {"type": "tool_call", "id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in message.calls
    ]
    return parts


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _json(value: Sequence[Any]) -> str | None:
    return json.dumps(value, ensure_ascii=False) if value else None


def _content(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else one_line(value, 100_000)


def _context(trace_id: str, span_id: str) -> SpanContext:
    hexadecimal = trace_id.removeprefix("trace_")
    is_hex = re.fullmatch(r"[0-9a-f]{32}", hexadecimal) is not None
    number = int(hexadecimal, 16) if is_hex else _number(trace_id, 16)
    return SpanContext(
        trace_id=number or 1,
        span_id=_number(span_id, 8),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _number(text: str, size: int) -> int:
    """Return a number of *size* bytes that depends on *text* only and is never 0."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size]) or 1
