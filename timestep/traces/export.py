"""Recorded runs as plain JSON values, for files, scripts and the viewer."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from timestep.traces.conversation import Message, conversation, results, tool_spans
from timestep.traces.diff import compare
from timestep.traces.queries import Hit
from timestep.traces.records import Span, Summary, Trace
from timestep.traces.statistics import Stats
from timestep.traces.summary import ending, headline

Json = dict[str, Any]


def plain(value: Summary | Hit | Stats | Span) -> Json:
    """Return *value* as a JSON object, computed properties included."""
    computed = ("total_seconds", "title", "tokens_per_second", "context_fill")
    return asdict(value) | {name: getattr(value, name) for name in computed if hasattr(value, name)}


def export_trace(trace: Trace, body: Callable[[str], bytes] | None = None) -> Json:
    """Return a whole run as a JSON object, with its ``bodies`` by hash if *body* looks them up.

    A body is a text, or ``{"base64": …}`` for bytes that are not UTF-8.
    """
    exported: Json = {
        "format": "timestep-trace-1",
        "trace_id": trace.trace_id,
        "name": trace.name,
        "group_id": trace.group_id,
        "title": trace.title,
        "outcome": trace.outcome,
        "ending": ending(trace).ending,
        "metadata": trace.metadata,
        "started_at": trace.started_at,
        "ended_at": trace.ended_at,
        "total_seconds": trace.total_seconds,
        "spans": [plain(span) for span in trace.spans],
    }
    if body is not None:
        exchanges = [exchange for span in trace.spans for exchange in span.exchanges]
        hashes = dict.fromkeys(
            digest for exchange in exchanges for digest in (exchange.request, exchange.response)
        )
        exported["bodies"] = {digest: _readable(body(digest)) for digest in hashes}
    return exported


def export_lines(trace: Trace, body: Callable[[str], bytes] | None = None) -> list[Json]:
    """Return a run as JSON objects, one a line: the run, then its spans, then bodies."""
    whole = export_trace(trace, body)
    spans = whole.pop("spans")
    bodies: Mapping[str, Any] = whole.pop("bodies", {})
    return [
        {"type": "trace", **whole},
        *({"type": "span", **span} for span in spans),
        *({"type": "body", "hash": digest, "body": text} for digest, text in bodies.items()),
    ]


def view_trace(trace: Trace) -> Json:
    """Return a run for the page: what `export_trace` returns, and the ``conversation``.

    The ``spans`` stand parents first. The conversation has a step for each call of a model.
    """
    tools = {call_id: span.span_id for call_id, span in tool_spans(trace).items()}
    answers = {call_id: message.text for call_id, message in results(trace).items()}
    steps = [
        {
            "span_id": span.span_id,
            "messages": [_view_message(message, tools, answers) for message in messages],
        }
        for span, messages in conversation(trace)
    ]
    spans = [_view_span(trace, depth, span) for depth, span in trace.walk()]
    return {**export_trace(trace), "spans": spans, "conversation": steps}


def _view_span(trace: Trace, depth: int, span: Span) -> Json:
    around = {kind: trace.around(span, kind) for kind in ("agent", "task")}
    return {
        **plain(span),
        "depth": depth,
        "headline": headline(span),
        **{kind: None if found is None else found.span_id for kind, found in around.items()},
    }


def _view_message(message: Message, tools: dict[str, str], answers: dict[str, str]) -> Json:
    calls = [
        {
            "text": str(call),
            "call_id": call.call_id,
            "result": answers.get(call.call_id or ""),
            "span_id": tools.get(call.call_id or ""),
        }
        for call in message.calls
    ]
    return {**message._asdict(), "calls": calls}


def view_diff(left: Trace, right: Trace) -> Json:
    """Return two runs side by side, for the viewer and for scripts."""
    pairs = compare(left, right)
    return {
        "left": _totals(left),
        "right": _totals(right),
        "same": ending(left) == ending(right) and all(pair.is_same for pair in pairs),
        "pairs": [
            {
                "left": _step(pair.left),
                "right": _step(pair.right),
                "same": pair.is_same,
                "differences": [difference._asdict() for difference in pair.differences],
            }
            for pair in pairs
        ],
    }


def _totals(trace: Trace) -> Json:
    calls = trace.model_calls
    costs = [call.cost for call in calls if call.cost is not None]
    return {
        "trace_id": trace.trace_id,
        "name": trace.name,
        "title": trace.title,
        **asdict(ending(trace)),
        "started_at": trace.started_at,
        "total_seconds": trace.total_seconds,
        "input_tokens": sum(call.input_tokens or 0 for call in calls),
        "output_tokens": sum(call.output_tokens or 0 for call in calls),
        "cost": sum(costs) if costs else None,
    }


_MEASURES = ("total_seconds", "input_tokens", "output_tokens")


def _step(span: Span | None) -> Json | None:
    return (
        None
        if span is None
        else {
            "span_id": span.span_id,
            "kind": span.kind,
            "headline": headline(span),
            **{name: getattr(span, name) for name in _MEASURES},
        }
    )


def _readable(body: bytes) -> str | Json:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
