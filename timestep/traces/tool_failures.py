"""What a tool raised. The SDK's span says only that a tool failed.

A failure reaches the record in one of two ways. The SDK handles most exceptions and goes on: then
it calls `note_failure`, if that is the run's ``tool_error_formatter``. A tool without a
``failure_error_function`` ends the run: then its span ends while the exception is under way.
"""

import sys
import sysconfig
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from agents import (
    FunctionSpanData,
    ToolErrorFormatterArgs,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)
from agents.tracing import Span, SpanData, SpanError, get_current_span

from timestep.net.json_parts import mapping

_NOT_THE_USERS = (sysconfig.get_path("stdlib"), str(Path(__file__).parents[1]), "<")


@dataclass(frozen=True, slots=True)
class ToolFailure:
    """One exception of a tool."""

    error: str  # its type and its message
    place: str  # the last line of the user's own code that it came through, such as `desk.py:12`
    traceback: str  # the whole traceback


def read_failure(error: BaseException) -> ToolFailure:
    """Return what there is to know about *error*, which a tool raised."""
    return ToolFailure(
        "".join(traceback.format_exception_only(error)).strip(),
        _place(traceback.extract_tb(error.__traceback__)),
        "".join(traceback.format_exception(error)),
    )


def note_failure(args: ToolErrorFormatterArgs[Any]) -> None:
    """Keep what a tool raised, for its span: a ``tool_error_formatter`` that leaves the text alone."""
    span = get_current_span()
    error = getattr(args, "error", None)  # since openai-agents 0.24
    config = getattr(args.run_context, "run_config", None)
    is_recorded = config is None or config.trace_include_sensitive_data
    if span is not None and error is not None and is_recorded:
        _noted[span.span_data] = _details(error)


def repeat_error(span: Span[Any], error: Mapping[str, Any]) -> None:
    """Give *span* the recorded *error*, also if its tool raises afterwards."""
    details = dict(mapping(error.get("data")))
    span.set_error(SpanError(message=str(error.get("message")), data=details))
    _noted[span.span_data] = details


def error_of(span: Span[Any]) -> dict[str, Any] | None:
    """Return the error of *span*, which ends now, with what its tool raised."""
    error = span.error
    if error is None or not isinstance(span.span_data, FunctionSpanData):
        return None if error is None else dict(error)
    details = error["data"] or {}
    return {
        **error,
        "data": {**details, **(_noted.pop(span.span_data, {}) or _under_way(details))},
    }


_noted: WeakKeyDictionary[SpanData, Mapping[str, Any]] = WeakKeyDictionary()


def _under_way(details: Mapping[str, Any]) -> dict[str, str]:
    """Return the details of the exception that ends a span now, if the SDK's *details* are of it."""
    raised = sys.exception()
    if raised is None:
        return {}
    error = raised.__cause__ or raised
    # The text may be withheld, and the caller of the run may handle another exception.
    return _details(error) if details.get("error") == str(error) else {}


def _details(error: BaseException) -> dict[str, str]:
    if isinstance(
        error, ToolInputGuardrailTripwireTriggered | ToolOutputGuardrailTripwireTriggered
    ):
        name = error.guardrail.get_name()  # its text names only the class
        return {"error": f"the guardrail {name} stopped the run", "guardrail": name}
    return asdict(read_failure(error))


def _place(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return the place of the last frame that is neither a library's nor ours."""
    found = list(frames)
    own = [
        frame
        for frame in found
        if "site-packages" not in frame.filename and not frame.filename.startswith(_NOT_THE_USERS)
    ]
    for frame in reversed(own or found):
        return f"{Path(frame.filename).name}:{frame.lineno}"
    return ""
