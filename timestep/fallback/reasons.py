"""Why another model may do better after an error. Pure.

`timestep.errors.meaning` says it for timestep's own errors. This module adds the errors of OpenAI's
client and of the SDK. They may also tell a failure under status 200: in the body of a whole answer, or in
a stream, as an event of the Responses API or an `openai.APIError` without a status.
"""

import ast
import re
from typing import Any, cast

import openai
from agents import ModelBehaviorError
from agents.items import TResponseStreamEvent

from timestep.errors.meaning import kind_of_code, meaning_of, meaning_of_status, reason_of_kind
from timestep.net.fallback_rules import FallbackReason

_FOREIGN: tuple[tuple[type[Exception], FallbackReason], ...] = (
    (openai.APITimeoutError, "timeout"),  # an APIConnectionError too, so it comes first
    (openai.APIConnectionError, "connection"),
    (TimeoutError, "timeout"),
    (ConnectionError, "connection"),
)
"""Errors that are not of our tree; `timestep.errors.meaning` has ours."""

_FAILED = re.compile(
    r"Responses stream ended with terminal event `response\.failed`\. "
    r"status=failed; error=ResponseError\(code='([^']*)'"
)
_NO_CHOICES = re.compile(
    r"ChatCompletion response has no choices \(possible provider error payload\): (\{.{,10000})",
    re.DOTALL,
)
"""The SDK's two messages for a failure in the body of a whole answer."""


class StreamFailureError(ModelBehaviorError):
    """A stream that began with its failure."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code  # OpenAI's name for the failure, such as `server_error`


def failure_in(event: TResponseStreamEvent) -> StreamFailureError | None:
    """Return the failure that *event* reports, or None."""
    failed = event.response.error if event.type == "response.failed" else event
    if failed is None or event.type not in {"error", "response.failed"}:
        return None
    code = str(getattr(failed, "code", None) or "")
    return StreamFailureError(f"the answer began with the failure {code!r}", code=code)


def reason_of(error: Exception) -> FallbackReason | None:
    """Return why another model may do better after *error*, or None if the caller must act."""
    if (meaning := meaning_of(error)) is not None:
        return meaning.reason
    for kind, reason in _FOREIGN:
        if isinstance(error, kind):
            return reason
    match error:
        case openai.APIStatusError():
            if (said := kind_of_code(error.code)) is not None:
                return reason_of_kind(said)
            return meaning_of_status(error.status_code).reason
        case openai.APIError():
            return _of_words(error.code, error.type)
        case StreamFailureError():
            return _of_words(error.code)
        case ModelBehaviorError():
            return _of_words(*_words_in(str(error)))
        case _:
            return None


def _of_words(*words: object) -> FallbackReason | None:
    """Return the reason for the first of *words* that is known: a status or a name."""
    for word in map(str, words):
        if re.fullmatch(r"[45]\d\d", word):
            return meaning_of_status(int(word)).reason
        if (kind := kind_of_code(word)) is not None:
            return reason_of_kind(kind)
    return None


def _words_in(text: str) -> tuple[object, ...]:
    """Return the code and the type of the failure in the SDK's *text*."""
    if failed := _FAILED.match(text):
        return (failed[1],)
    if no_choices := _NO_CHOICES.fullmatch(text):
        try:
            told: Any = ast.literal_eval(no_choices[1])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ()
        if isinstance(told, dict):
            error = cast("dict[str, Any]", told)
            return error.get("code"), error.get("type")
    return ()
