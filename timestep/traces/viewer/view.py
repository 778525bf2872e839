"""A recorded run as the page shows it. Pure."""

from dataclasses import asdict
from typing import Any

from timestep.traces.conversation import Message, conversation, results, tool_spans
from timestep.traces.export import export_trace, plain
from timestep.traces.records import Span, Trace
from timestep.traces.summary import headline

Json = dict[str, Any]


def view_trace(trace: Trace) -> Json:
    """Return a run for the page.

    Returns:
        What `export_trace` returns, with more in ``spans``, which stand parents first: ``depth``,
        ``headline``, and the ids of the ``agent`` and ``task`` around each. ``conversation`` has a
        step per model call: its ``span_id`` and its ``messages``. A call in a message has
        its ``text``, its ``result``, and the ``span_id`` of the tool.
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
    return {**asdict(message), "calls": calls}
