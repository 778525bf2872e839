"""The Agents SDK's traces and spans as events for a store: copies of what they hold."""

import asyncio
import json
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from weakref import WeakSet

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

from timestep.net import wire_bytes
from timestep.net.foreign import entries, mapping
from timestep.traces.conversation import question, read_messages
from timestep.traces.prices import price
from timestep.traces.records import (
    Exchange,
    SpanCut,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)
from timestep.traces.search_text import search_text
from timestep.traces.tool_failures import error_of

_NANOSECONDS = 1e9
_TOO_LARGE = 2**63
_STOPPED = ({"error": "cancelled"}, {"error": "abandoned"})
"""What the data of an error says when nothing failed: the caller did not wait for the end."""


def span_started(span: Span[Any]) -> SpanStarted:
    """Return the start of *span*."""
    data: SpanData = span.span_data
    asked = _question(data)
    if asked:
        _asked.add(data)
    return SpanStarted(
        span_id=encodable(span.span_id),
        trace_id=encodable(span.trace_id),
        parent_id=None if span.parent_id is None else encodable(span.parent_id),
        kind=data.type,
        name=_name(data),
        started_at=_seconds(span.started_at),
        question=asked,
    )


_asked: WeakSet[SpanData] = WeakSet()
"""The model calls whose question was recorded at their start."""


def span_ended(span: Span[Any], *, most_bytes: int = sys.maxsize) -> SpanEnded:
    """Return the end of *span*, with everything it holds.

    Args:
        span: A span that has ended.
        most_bytes: Content that is larger is left out before it is copied; a `SpanCut` says so.
    """
    data: SpanData = span.span_data
    kept = [each for each in wire_bytes.take(span.span_id) if each.request]
    content = _content(data, with_input=not kept)
    size = sum(len(each.request) + sum(map(len, each.response)) for each in kept)
    # An answer that was read from kept bytes is about as large as they are.
    if size > most_bytes or (not kept and is_larger(content, most_bytes)):
        return _cut(span, data)
    written = _json_bytes(content)
    if len(written) > most_bytes:
        del content, written
        return _cut(span, data)
    exchanges = tuple(
        Exchange(each.url, each.status, each.request, b"".join(each.response)) for each in kept
    )
    error, name, ended_at = error_of(span), _name(data), _seconds(span.ended_at)
    return SpanEnded(
        span_id=encodable(span.span_id),
        trace_id=encodable(span.trace_id),
        kind=data.type,
        name=name,
        ended_at=ended_at,
        error=None if error is None else _json(error),
        data=written.decode(),
        text=encodable(search_text(data, name, content, error)),
        total_seconds=ended_at - _seconds(span.started_at),
        exchanges=exchanges,
        outcome=_outcome(span),
        **_words(data),
        **_numbers(data),
    )


def _cut(span: Span[Any], data: SpanData) -> SpanCut:
    ended_at = _seconds(span.ended_at)
    return SpanCut(
        span_id=encodable(span.span_id),
        trace_id=encodable(span.trace_id),
        kind=data.type,
        name=_name(data),
        ended_at=ended_at,
        error=None,
        data=json.dumps({"type": data.type}),
        total_seconds=ended_at - _seconds(span.started_at),
        outcome=_outcome(span),
        **_numbers(data),
    )


def is_larger(value: object, most_bytes: int) -> bool:
    """Return True when the JSON of *value* takes more than *most_bytes*, escapes not counted.

    A list or dictionary counts once, however many hold it.
    """
    left, size = [value], 0
    seen: set[int] = set()
    while left and size <= most_bytes:
        one = left.pop()
        if isinstance(one, str | bytes):
            size += len(one)
        elif (inside := _inside(one)) and id(one) not in seen:
            seen.add(id(one))
            size += 2 * len(inside)  # a digit and a comma, at least
            left += inside
    return size > most_bytes


def _inside(value: object) -> Collection[object]:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).values()
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def trace_started(trace: Trace) -> TraceStarted:
    """Return the start of a run."""
    exported = trace.export() or {}
    metadata, group = exported.get("metadata"), exported.get("group_id")
    return TraceStarted(
        trace_id=encodable(trace.trace_id),
        name=encodable(trace.name),
        group_id=None if group is None else encodable(group),
        metadata=_json(metadata) if metadata else None,
        started_at=time.time(),
    )


def trace_ended(trace: Trace) -> TraceEnded:
    """Return the end of a run."""
    return TraceEnded(encodable(trace.trace_id), time.time())


def _content(data: SpanData, *, with_input: bool) -> dict[str, Any]:
    """Return what *data* exports, and what it holds only for processors."""
    if isinstance(data, GenerationSpanData):
        config = mapping(data.model_config)
        content = data.export()
        # The SDK lists all settings there are; those that were not made only cost.
        content["model_config"] = {
            name: value for name, value in config.items() if value is not None
        }
        if not with_input:
            del content["input"]  # the stored request holds it
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
        exported = data.export()  # audio would only fill the disk
        for side in ("input", "output"):
            if isinstance(exported.get(side), dict):
                exported[side] = {**exported[side], "data": "[audio]"}
        return exported
    content = data.export()
    if content.get("type") == "custom" and data.type != "custom":
        return {"type": data.type, **content["data"]}  # a task or a turn
    return content


def _outcome(span: Span[Any]) -> str | None:
    """Return how a step went; None when it did well."""
    if span.error is not None:
        return "cancelled" if span.error.get("data") in _STOPPED else "failed"
    # A span ends while the exception passes. The SDK notes no cancellation on its own spans.
    if isinstance(sys.exception(), asyncio.CancelledError):
        return "cancelled"
    return "cut" if _is_cut(span.span_data) else None


def _is_cut(data: SpanData) -> bool:
    """Return whether the token limit cut the answer of a model call."""
    if isinstance(data, ResponseSpanData):
        return data.response is not None and data.response.status == "incomplete"
    output: object = data.output if isinstance(data, GenerationSpanData) else None
    return any(mapping(item).get("status") == "incomplete" for item in entries(output))


def _words(data: SpanData) -> dict[str, Any]:
    """Return the question that a model call is the first to answer, and its answer."""
    if isinstance(data, GenerationSpanData):
        output: Any = data.output
    elif isinstance(data, ResponseSpanData):
        items = () if data.response is None else data.response.output
        output = [item.model_dump(exclude_unset=True) for item in items]
    else:
        return {}
    answer = read_messages(output, role="assistant")
    is_final = not any(message.calls for message in answer)
    return {
        "question": None if data in _asked else _question(data),
        "answer": encodable("".join(message.text for message in answer)) if is_final else None,
    }


def _question(data: SpanData) -> str | None:
    """Return what the user said last, if *data* is of the first model call to answer it."""
    if not isinstance(data, GenerationSpanData | ResponseSpanData) or not data.input:
        return None
    return encodable(question(data.input)) or None


def _numbers(data: SpanData) -> dict[str, Any]:
    """Return the columns that lists and statistics need."""
    if isinstance(data, GenerationSpanData):
        config, usage = mapping(data.model_config), mapping(data.usage)
        durations = mapping(config.get("durations_ns"))
        return {
            "model": None if data.model is None else encodable(data.model),
            **_tokens(usage),
            "cost": _cost(data.model, usage, config),
            "first_token_seconds": _number(config.get("first_token_seconds")),
            "load_seconds": _as_seconds(durations.get("load_duration")),
            "prompt_seconds": _as_seconds(durations.get("prompt_eval_duration")),
            "output_seconds": _as_seconds(durations.get("eval_duration")),
            "context_length": _count(config.get("context_length")),
        }
    if isinstance(data, ResponseSpanData):
        model = None if data.response is None else str(data.response.model)
        usage = mapping(data.usage or _usage_of(data))
        return {"model": model or "response", **_tokens(usage), "cost": _cost(model, usage, {})}
    return {}


def _cost(model: str | None, usage: Mapping[str, Any], config: Mapping[str, Any]) -> float | None:
    """Return what a call cost: as the server says, else as the prices say."""
    reported = config.get("cost")
    if isinstance(reported, float):
        return reported
    if not model or not usage:
        return None
    cached = mapping(usage.get("input_tokens_details")).get("cached_tokens")
    host = config.get("base_url")
    return price(
        str(config.get("model_name") or model),
        None if host is None else str(host),
        input_tokens=_count(usage.get("input_tokens")) or 0,
        output_tokens=_count(usage.get("output_tokens")) or 0,
        cached_tokens=_count(cached) or 0,
    )


def _usage_of(data: ResponseSpanData) -> dict[str, Any] | None:
    usage = None if data.response is None else data.response.usage
    return None if usage is None else usage.model_dump()


def _tokens(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _count(usage.get(name)) for name in ("input_tokens", "output_tokens")}


def _count(value: Any) -> int | None:
    """Return *value* if a column can hold it as a count: a server may send anything."""
    return value if type(value) is int and abs(value) < _TOO_LARGE else None


def _number(value: Any) -> float | None:
    return float(value) if type(value) is float or _count(value) is not None else None


def _as_seconds(nanoseconds: Any) -> float | None:
    count = _count(nanoseconds)
    return None if count is None else count / _NANOSECONDS


def encodable(text: object) -> str:
    """Return *text* with a question mark for each lone surrogate, which UTF-8 cannot hold."""
    text = str(text)
    return text if text.isascii() else text.encode(errors="replace").decode()


def _name(data: SpanData) -> str:
    """Return the name of a step in a list."""
    return encodable(_raw_name(data))


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


def _json(value: Any) -> str:
    """Return *value* as JSON; what JSON cannot express becomes its ``repr``."""
    return _json_bytes(value).decode()


def _json_bytes(value: Any) -> bytes:
    try:
        return to_json(value, fallback=repr, inf_nan_mode="strings", bytes_mode="base64")
    except (PydanticSerializationError, ValueError, RecursionError):
        try:
            return json.dumps(value, default=repr, skipkeys=True).encode()
        except (TypeError, ValueError, RecursionError):
            return json.dumps({"unreadable": type(value).__name__}).encode()


def _seconds(iso: str | None) -> float:
    return datetime.fromisoformat(iso).timestamp() if iso else time.time()
