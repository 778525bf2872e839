"""A step or a whole run in a line. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from timestep.net.json_parts import mapping
from timestep.traces.calls import call_text
from timestep.traces.conversation import answered
from timestep.traces.records import JsonObject, Span, Trace
from timestep.traces.text import one_line


def headline(span: Span) -> str:
    """Return what *span* did, on one line, without its measures."""
    match span.kind:
        case "function":
            return one_line(call_text(span.name, span.arguments))
        case "handoff":
            return f"{span.data.get('from_agent') or '?'} → {span.name}"
        case "guardrail":
            return f"{span.name} {'triggered' if span.data.get('triggered') else 'passed'}"
        case "turn":
            return f"turn {span.name}"
        case "generation" | "response":
            return f"{span.name}{_said(span)}"
        case _:
            return span.name


def kind_of(span: Span) -> str:
    """Return what kind of step *span* is, if its headline does not say it."""
    return "" if span.kind in _PLAIN_KINDS else span.kind


_PLAIN_KINDS = frozenset({"turn", "generation", "response", "function"})


def _said(span: Span) -> str:
    parts = [
        part
        for message in answered(span)
        for part in (one_line(message.text, 80), *(one_line(str(call)) for call in message.calls))
        if part
    ]
    return f": {one_line(' · '.join(parts), 120)}" if parts else ""


def measures(span: Span) -> list[str]:
    """Return the measures of a model call beside time and tokens, a phrase each."""
    parts: list[str] = []
    if span.tokens_per_second is not None:
        parts.append(f"{span.tokens_per_second:.1f} tok/s")
    for name, seconds in (
        ("first token", span.first_token_seconds),
        ("load", span.load_seconds),
        ("prompt", span.prompt_seconds),
        ("output", span.output_seconds),
    ):
        if seconds is not None:
            parts.append(f"{name} {seconds:.3f} s")
    if span.context_fill is not None:
        parts.append(f"context {span.context_fill:.0%} of {span.context_length:,}")
    if span.cost is not None:
        parts.append(dollars(span.cost))
    if span.outcome == "cut":
        parts.append("cut at the token limit")
    return parts


def dollars(cost: float | None) -> str:
    """Return *cost* for people; empty when it is not known."""
    if cost is None:
        return ""
    return f"${cost:,.2f}" if cost >= 1 else f"${cost:.2g}"


def complaint(span: Span) -> str:
    """Return what went wrong in *span*: what failed, the error, and its place in the user's file."""
    error = mapping(span.error)
    details = error_details(error)
    why = details.get("error") or details.get("guardrail")
    said = ": ".join(str(part) for part in (error.get("message"), why) if part)
    return f"{said} ({details['place']})" if details.get("place") else said


def error_details(error: JsonObject | None) -> Mapping[str, object]:
    """Return what the *error* of a span says beside its message."""
    return mapping(mapping(error).get("data"))


def error_type(error: JsonObject | None) -> str:
    """Return the class of the error that a model call of timestep's ended in; empty if it is unknown."""
    return str(error_details(error).get("type") or "")


def traceback_of(span: Span) -> str:
    """Return the traceback of what a tool raised in *span*; empty when there is none."""
    found = error_details(span.error).get("traceback")
    return found if isinstance(found, str) else ""


_SAID_BELOW = "Error in agent run"
"""What the SDK says of an agent that failed because a step in it did."""


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    outcome: str  # one of `timestep.traces.records.OUTCOMES`, but a replay counts as `ok`
    ending: str  # what follows "The run": `failed: …`, `was cancelled during a call of m`, …

    def sentence(self, subject: str) -> str:
        """Return how *subject*, such as ``The run``, ended."""
        return f"{subject} {self.ending}."


def ending(trace: Trace) -> Ending:
    """Return how *trace* ended."""
    match trace.outcome:
        case "failed" if failed := sorted(trace.errors, key=lambda span: span.ended_at or 0.0):
            return Ending("failed", _failure(failed).removesuffix("."))
        case "cut":
            return Ending("cut", "ended with an answer that was cut at the token limit")
        case "cancelled":
            stopped = [span for span in trace.spans if span.outcome == "cancelled"]
            return Ending("cancelled", f"was cancelled{_during(stopped)}")
        case "running":
            stopped = [span for span in trace.spans if span.ended_at is None]
            return Ending("running", f"has not ended, or its process ended{_during(stopped)}")
        case _:
            return Ending("ok", "ended well")


def _failure(failed: list[Span]) -> str:
    calls = [span for span in failed if span.is_call]
    is_of_call = calls and mapping(failed[-1].error).get("message") == _SAID_BELOW
    last = calls[-1] if is_of_call else failed[-1]
    details = error_details(last.error)
    if guardrail := details.get("guardrail"):
        return f"was stopped by the guardrail {guardrail}"
    if not last.is_call or not details.get("error"):
        return f"failed: {complaint(last)}"
    if last.is_model_call:
        return f"failed: {details['error']}"
    place = f" ({details['place']})" if details.get("place") else ""
    return f"failed: the tool {last.name} raised {details['error']}{place}"


def _during(stopped: list[Span]) -> str:
    calls = [span for span in stopped if span.is_call]
    if not calls:
        return ""
    last = calls[-1]
    return f" during {'the tool' if last.is_tool_call else 'a call of'} {last.name}"
