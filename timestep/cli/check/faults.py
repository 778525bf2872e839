"""Tells whether the model or something else is to blame for an error.

An error after the first output ends the stream with an event, which has its words but not its
class. The class stands on the generation span, so `SpanErrors` reads it there.
"""

from typing import Any

import openai
from agents import AgentsException, MaxTurnsExceeded, ModelBehaviorError, Span, UserError
from agents.tracing import TracingProcessor

from timestep import errors
from timestep.errors.meaning import meaning_of
from timestep.fallback.reasons import reason_of
from timestep.openai import errors as openai_errors

_REFUSALS = {400, 422}
_ABILITIES = {"audio", "completion", "thinking", "tools", "vision"}
"""Reasons of a chain that are about its models."""


def is_of_model(error: Exception) -> bool:
    """Return whether the model is to blame for *error*, not its server or the request."""
    if isinstance(error, errors.AllModelsFailedError):
        return bool(error.failures) and all(each.reason in _ABILITIES for each in error.failures)
    meaning = meaning_of(error)
    if meaning is not None:
        return meaning.fault == "model"
    if isinstance(error, UserError):
        return False
    if isinstance(error, MaxTurnsExceeded | ModelBehaviorError):
        return reason_of(error) is None
    return False


def may_be_settings(error: Exception) -> bool:
    """Return whether *error* may be about a setting that the server or its client does not take."""
    match error:
        case errors.ContextWindowExceededError() | errors.UnknownModelError():
            return False
        case openai.APIStatusError() | errors.OllamaStatusError():
            return error.status_code in _REFUSALS
        case _:
            return isinstance(error, TypeError | UserError)


class SpanErrors(TracingProcessor):
    """Keeps the last error of each trace's model calls."""

    def __init__(self) -> None:
        self._errors: dict[str, str] = {}

    def take(self, trace_id: str) -> Exception | None:
        """Return the error of the trace *trace_id*, rebuilt, and forget it. None if unknown."""
        name, _, message = self._errors.pop(trace_id, "").partition(": ")
        kind: object = getattr(errors, name, None) or getattr(openai_errors, name, None)
        if isinstance(kind, type) and issubclass(kind, AgentsException):
            return kind(message)
        return None

    def on_span_end(self, span: Span[Any]) -> None:
        """Note the error of *span*."""
        data = span.error["data"] if span.error else None
        if span.span_data.type == "generation" and data and "error" in data:
            self._errors[span.trace_id] = str(data["error"])

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass

    on_span_start = on_trace_start = on_trace_end = shutdown = force_flush = _ignore
