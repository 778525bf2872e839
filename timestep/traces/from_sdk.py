"""The Agents SDK's traces and spans as events for a store: copies of what they hold."""

import asyncio
import json
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from agents.tracing import (
    GenerationSpanData,
    ResponseSpanData,
    Span,
    SpanData,
    Trace,
)
from pydantic_core import to_json

from timestep.net import wire_bytes
from timestep.net.json_parts import mapping
from timestep.net.json_text import encodable
from timestep.traces.columns import with_columns
from timestep.traces.conversation import question
from timestep.traces.records import (
    EVENT_BYTES,
    Exchange,
    SpanBegun,
    SpanCopied,
    SpanCut,
    TraceEnded,
    TraceStarted,
)
from timestep.traces.tool_failures import error_of

_STOPPED = ({"error": "cancelled"}, {"error": "abandoned"})
"""What the data of an error says when nothing failed: the caller did not wait for the end."""


def span_started(span: Span[Any]) -> SpanBegun:
    """Return the start of *span*."""
    data: SpanData = span.span_data
    return SpanBegun(
        span.span_id,
        span.trace_id,
        span.parent_id,
        data.type,
        _name(data),
        span.started_at,
        _question(data),
    )


def span_ended(span: Span[Any], *, most_bytes: int = sys.maxsize) -> SpanCopied | SpanCut:
    """Return a copy of *span*, which has ended, with everything it holds.

    Content that takes more than *most_bytes* is left out before it is copied; a `SpanCut` says so.
    """
    kept = [each for each in wire_bytes.take(span.span_id) if each.request]
    content = _content(span.span_data, with_input=not kept)
    size = EVENT_BYTES + sum([len(each.request) + sum(map(len, each.response)) for each in kept])
    # An answer that was read from kept bytes is about as large as they are.
    if size > most_bytes or (not kept and is_larger(content, most_bytes)):
        return _cut(span, content)
    written = _json(content)
    if size + len(written) > most_bytes:
        del written
        return _cut(span, content)
    error = error_of(span)
    return _copied(
        span,
        written,
        None if error is None else _json(error),
        tuple(
            [
                Exchange(each.url, each.status, each.request, b"".join(each.response))
                for each in kept
            ]
        ),
    )


def _cut(span: Span[Any], content: Mapping[str, Any]) -> SpanCut:
    small = _json({name: content[name] for name in _SMALL if name in content})
    ended = with_columns(_copied(span, small))
    return SpanCut(*ended._replace(data=json.dumps({"type": ended.kind}), text=""))


_SMALL = ("type", "model", "model_config", "usage", "status")
"""The members of a model call's content that fill columns."""


def _copied(
    span: Span[Any], content: str, error: str | None = None, exchanges: tuple[Exchange, ...] = ()
) -> SpanCopied:
    data: SpanData = span.span_data
    return SpanCopied(
        span.span_id,
        span.trace_id,
        data.type,
        _name(data),
        span.started_at,
        span.ended_at,
        error,
        content,
        _outcome(span),
        exchanges,
    )


def is_larger(value: object, most_bytes: int) -> bool:
    """Return True when the JSON of *value* takes more than *most_bytes*, escapes not counted.

    A list or dictionary counts once, however many hold it.
    """
    left, size = [value], 0
    seen: set[int] = set()
    while left and size <= most_bytes:
        one = left.pop()
        if isinstance(one, (str, bytes)):
            size += len(one)
        elif one is not None and (inside := _inside(one)) and id(one) not in seen:
            seen.add(id(one))
            size += 2 * len(inside)  # a digit and a comma, at least
            left += inside
    return size > most_bytes


def _inside(value: object) -> Collection[object]:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).values()
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else ()


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


_OF_RESPONSES = ("output", "status", "instructions", "tools")


def _content(data: SpanData, *, with_input: bool) -> dict[str, Any]:
    """Return what *data* exports, and what it holds only for processors."""
    kind, content = data.type, data.export()
    # The kind is asked for first: to ask an abstract class takes long.
    if kind == "generation" and isinstance(data, GenerationSpanData):
        config = mapping(data.model_config)
        # The SDK lists all settings there are; those that were not made only cost.
        content["model_config"] = {
            name: value for name, value in config.items() if value is not None
        }
        if not with_input:
            del content["input"]  # the stored request holds it
    elif kind == "response" and isinstance(data, ResponseSpanData):
        response = data.response
        served = None if response is None else str(response.model)
        name = getattr(data, "model", None) or served  # the application's, see `rename_span`
        config = dict(mapping(getattr(data, "model_config", None)))
        if served not in {name, None}:
            config["model_name"] = served
        content |= {
            "input": data.input,
            **{name: getattr(response, name, None) for name in _OF_RESPONSES},
            "model": name,
            **({"model_config": config} if config else {}),
            "usage": data.usage or getattr(response, "usage", None),
        }
    elif kind in {"transcription", "speech"}:  # audio would only fill the disk
        for side in ("input", "output"):
            if isinstance(content.get(side), dict):
                content[side] = {**content[side], "data": "[audio]"}
    elif kind != "custom" and content.get("type") == "custom":
        return {"type": kind, **content["data"]}  # a task or a turn
    return content


def _outcome(span: Span[Any]) -> str | None:
    """Return how a step failed; None when it did not."""
    if span.error is not None:
        return "cancelled" if span.error.get("data") in _STOPPED else "failed"
    # A span ends while the exception passes. The SDK notes no cancellation on its own spans.
    if isinstance(sys.exception(), asyncio.CancelledError):
        return "cancelled"
    return None


def _question(data: SpanData) -> str | None:
    """Return what the user said last, if *data* is of the first model call to answer it."""
    if data.type not in _OF_MODELS or not (given := getattr(data, "input", None)):
        return None
    try:
        return question(given) or None
    except Exception:  # noqa: BLE001 - as in `_json`; the step itself must not be lost
        return None


_OF_MODELS = frozenset({"generation", "response"})


def _name(data: SpanData) -> str:
    """Return the name of a step in a list."""
    kind = data.type
    for owner in (data, getattr(data, "response", None)):
        for attribute in ("name", "model", "to_agent", "server"):
            if isinstance(value := getattr(owner, attribute, None), str) and value:
                return value
    return "model" if kind in _OF_MODELS else str(getattr(data, "turn", kind))


def _json(value: Any) -> str:
    """Return *value* as JSON; what JSON cannot express becomes its ``repr``."""
    try:
        return to_json(value, fallback=repr, inf_nan_mode="strings", bytes_mode="base64").decode()
    except Exception:  # noqa: BLE001 - as below
        try:
            return json.dumps(value, default=repr, skipkeys=True)
        except Exception:  # noqa: BLE001 - an application's object decides what its repr raises
            return json.dumps({"unreadable": type(value).__name__})
