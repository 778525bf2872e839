"""How a run ended, in words. Pure."""

from dataclasses import dataclass

from timestep.net.foreign import mapping
from timestep.traces.records import Span, Trace
from timestep.traces.summary import complaint, error_details

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
