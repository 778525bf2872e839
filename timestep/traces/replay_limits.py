"""What of a recorded run a replay does again, and what it does not. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from timestep.net.json_parts import mapping
from timestep.traces.records import Span, Trace
from timestep.traces.summary import error_details, error_type

_STREAM_FAILED = "Error streaming response"


def was_streamed(trace: Trace) -> bool:
    """Return whether a model failed while it streamed; only a failure says so, and it matters then."""
    return any(mapping(span.error).get("message") == _STREAM_FAILED for span in trace.model_calls)


def from_step(trace: Trace, step: int) -> Trace:
    """Return what a replay of *trace* from its model call number *step* on does again.

    That is one run: not those that its tools began, or that the application put into the same
    trace. A replay runs no guardrails, and asks no model that failed before another one answered.
    """
    start = trace.model_calls[step - 1]
    failed = _failed_tries(trace)
    spans = [
        span
        for span in _same_run(trace, start)
        if (span.started_at >= start.started_at or span.kind in {"agent", "turn"})
        and span.kind != "guardrail"
        and span not in failed
    ]
    return replace(trace, spans=spans, started_at=start.started_at)


def stored(calls: Sequence[Span]) -> list[Span]:
    """Return the calls before the first one whose stored answer is not whole."""
    return list(takewhile(lambda call: not _interruption(call), calls))


def limits(trace: Trace, step: int) -> list[str]:
    """Return what a replay of *trace* does not do again, a sentence each."""
    ours, failed = _same_run(trace, trace.model_calls[step - 1]), _failed_tries(trace)
    guardrails = dict.fromkeys(span.name for span in ours if span.kind == "guardrail")
    models = dict.fromkeys(span.name for span in ours if span in failed)
    reasons = dict.fromkeys(
        _interruption(span) for span in ours if span.is_call and span not in failed
    )
    return [
        *(f"A replay does not run the guardrail {name}." for name in guardrails),
        *(f"A replay does not repeat a failed try of {name}." for name in models),
        *(f"A replay does not repeat {reason}." for reason in reasons if reason),
    ]


def _same_run(trace: Trace, call: Span) -> list[Span]:
    task = trace.around(call, "task")
    return [span for span in trace.spans if trace.around(span, "task") == task]


def _failed_tries(trace: Trace) -> list[Span]:
    """Return the model calls that another one followed in the same turn, as in a chain."""
    last: dict[str, Span] = {}
    failed: list[Span] = []
    for call in trace.model_calls:
        turn = trace.around(call, "turn")
        if turn is not None:
            failed += [last[turn.span_id]] if turn.span_id in last else []
            last[turn.span_id] = call
    return failed


def _interruption(call: Span) -> str:
    """Return what kept *call* from its own end; empty when nothing did."""
    if call.ended_at is None:
        return "the end of a process"
    if call.outcome == "cancelled":
        return "a cancellation"
    is_timeout = error_type(call.error).endswith("TimeoutError")
    return "a timeout" if call.is_model_call and is_timeout else ""


def turns_left(trace: Trace, step: int) -> int | None:
    """Return how many turns there were from model call *step* on, if their limit ended the run."""
    start = trace.model_calls[step - 1]
    for span in (ours := _same_run(trace, start)):
        limit = error_details(span.error).get("max_turns")
        if isinstance(limit, int):
            begun = [each for each in ours if each.kind == "turn"]
            begun = [turn for turn in begun if turn.started_at <= start.started_at]
            return max(1, limit - max(0, len(begun) - 1))
    return None
