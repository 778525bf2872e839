"""Why another model may do better after an error. Pure.

A failure has a status, which a known code overrules, or comes under status 200: in the body of a
whole answer, which the SDK turns into the text of a `ModelBehaviorError`; as an event of a stream
of the Responses API; or as an error object in a stream of chat completions, which is an
`openai.APIError` without a status.
All of them are read alike, so that whole and streamed answers end alike.
"""

import ast
import re
from collections.abc import Mapping
from typing import Any, cast

import openai
from agents import ModelBehaviorError
from agents.items import TResponseStreamEvent

from timestep.errors import (
    AuthenticationError,
    BrokenAnswerError,
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
    RateLimitError,
    ServerBusyError,
)
from timestep.routing import FallbackReason

_KINDS: tuple[tuple[type[Exception], FallbackReason], ...] = (
    (OllamaTimeoutError, "timeout"),
    (OllamaConnectionError, "connection"),
    (ModelNotFoundError, "not_found"),
    (RateLimitError, "rate_limit"),
    (ServerBusyError, "busy"),
    (AuthenticationError, "authentication"),
    (OllamaStreamError, "broken"),
    (BrokenAnswerError, "broken"),
    (openai.APITimeoutError, "timeout"),  # an APIConnectionError too, so it comes first
    (openai.APIConnectionError, "connection"),
    (TimeoutError, "timeout"),
    (ConnectionError, "connection"),
)
_STATUS: Mapping[int, FallbackReason] = {
    401: "authentication",
    402: "rate_limit",  # payment required: no credit is left
    403: "authentication",
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
}
_WORDS: Mapping[str, FallbackReason | None] = {
    "api_error": "busy",
    "internal_error": "busy",
    "internal_server_error": "busy",
    "overloaded": "busy",
    "overloaded_error": "busy",
    "server_error": "busy",
    "service_unavailable": "busy",
    "unavailable_error": "busy",
    "insufficient_quota": "rate_limit",
    "quota_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "too_many_requests": "rate_limit",
    "model_not_found": "not_found",
    "not_found_error": "not_found",
    "timeout_error": "timeout",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "permission_error": "authentication",
    # The caller's, also where the type next to it claims that the server failed.
    "content_filter": None,
    "content_policy_violation": None,
    "context_length_exceeded": None,
    "invalid_prompt": None,
}
"""What OpenAI, and those who speak its API, call failures."""

_FAILED = re.compile(
    r"Responses stream ended with terminal event `response\.failed`\. "
    r"status=failed; error=ResponseError\(code='([^']*)'"
)
_NO_CHOICES = re.compile(
    r"ChatCompletion response has no choices \(possible provider error payload\): (\{.{,10000})",
    re.DOTALL,
)
"""How the SDK writes down a failure in the body of a whole answer, of either API."""


class StreamFailureError(ModelBehaviorError):
    """A stream whose first news was that it failed.

    Attributes:
        code: OpenAI's name for why, such as ``"server_error"``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the answer began with the failure {code!r}")
        self.code = code


def failure_in(event: TResponseStreamEvent) -> StreamFailureError | None:
    """What went wrong, when *event* says so."""
    if event.type == "error":
        return StreamFailureError(event.code or "")
    if event.type == "response.failed" and event.response.error is not None:
        return StreamFailureError(event.response.error.code)
    return None


def reason_of(error: Exception) -> FallbackReason | None:
    """Why another model may do better after *error*; None when it is the caller's to mend."""
    for kind, reason in _KINDS:
        if isinstance(error, kind):
            return reason
    match error:
        case OllamaStatusError():
            return _of_status(error.status_code)
        case openai.APIStatusError():
            code = str(error.code)
            return _WORDS[code] if code in _WORDS else _of_status(error.status_code)
        case openai.APIError():
            return _of_words(error.code, error.type)
        case StreamFailureError():
            return _of_words(error.code)
        case ModelBehaviorError():
            return _of_words(*_words_in(str(error)))
        case _:
            return None


def _of_status(status: int) -> FallbackReason | None:
    if status >= 500:  # noqa: PLR2004 - HTTP's own number
        return "busy"
    return _STATUS.get(status)


def _of_words(*words: object) -> FallbackReason | None:
    """The reason that the first of *words* gives that says something: a status, or a name."""
    for word in map(str, words):
        if re.fullmatch(r"[45]\d\d", word):
            return _of_status(int(word))
        if word in _WORDS:
            return _WORDS[word]
    return None


def _words_in(text: str) -> tuple[object, ...]:
    """The code and the type of the failure that *text* of the SDK tells of."""
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
