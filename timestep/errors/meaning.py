"""One table that says what each error means for the next try. Pure.

Retry advice, chains of models, pools of servers, exit texts and durable engines read it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from timestep.errors import (
    AllModelsFailedError,
    AuthenticationError,
    BrokenAnswerError,
    CapabilityError,
    ConfigurationError,
    ContextWindowExceededError,
    ModelNotFoundError,
    ModelOutputError,
    OllamaConnectionError,
    OllamaError,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
    RateLimitError,
    ServerBusyError,
    TimestepError,
    UnknownModelError,
    UnsupportedInputError,
)
from timestep.net.fallback_rules import FallbackReason

Fault = Literal["caller", "host", "model"]
Kind = Literal["context", "model", "key", "quota", "rate", "busy", "timeout", "filter", "prompt"]
"""What a failure is about, as the codes of servers tell."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means for the next try."""

    fault: Fault  # who must change something: the caller, the server, or the model
    passes: bool = False  # True if the same request to the same server may work the next time
    # Why a chain may ask its next model; None if another model does not help.
    reason: FallbackReason | None = None
    wait: float | None = None  # how many seconds the server asks to wait, if it says so


_CALLER = Meaning("caller")

MEANINGS: Mapping[type[TimestepError], Meaning] = {
    ConfigurationError: _CALLER,
    UnknownModelError: _CALLER,
    UnsupportedInputError: _CALLER,
    AllModelsFailedError: _CALLER,  # passes if one of its failures does, see `_of_chain`
    BrokenAnswerError: Meaning("host", passes=True, reason="broken"),
    OllamaError: _CALLER,
    OllamaConnectionError: Meaning("host", passes=True, reason="connection"),
    OllamaTimeoutError: Meaning("host", passes=True, reason="timeout"),
    OllamaStatusError: _CALLER,  # the status decides, see `STATUSES`
    ModelNotFoundError: Meaning("host", reason="not_found"),
    AuthenticationError: Meaning("caller", reason="authentication"),
    RateLimitError: Meaning(
        "host", passes=True, reason="rate_limit"
    ),  # not if the quota is used up
    ServerBusyError: Meaning("host", passes=True, reason="busy"),
    CapabilityError: Meaning("model"),  # a chain skips a model without the capability
    ContextWindowExceededError: _CALLER,
    OllamaStreamError: Meaning("host", passes=True, reason="broken"),
    ModelOutputError: Meaning("model", passes=True),
}
"""By class of error. A class that is not listed has the meaning of its nearest base class."""

STATUSES: Mapping[int, Meaning] = {
    401: Meaning("caller", reason="authentication"),
    402: Meaning("caller", reason="rate_limit"),  # payment required: no credit is left
    403: Meaning("caller", reason="authentication"),
    404: Meaning("caller", reason="not_found"),
    408: Meaning("host", passes=True, reason="timeout"),
    409: Meaning("host", passes=True),
    429: Meaning("host", passes=True, reason="rate_limit"),
}
"""By HTTP status, if no class says more. Others are `FAILED` from 500 on, else the caller's."""

FAILED = Meaning("host", passes=True, reason="busy")

_CODES: Mapping[str, Kind] = {
    "context_length_exceeded": "context",
    "exceed_context_size_error": "context",
    "contextwindowexceedederror": "context",
    "model_not_found": "model",
    "not_found_error": "model",
    "authentication_error": "key",
    "invalid_api_key": "key",
    "permission_error": "key",
    "insufficient_quota": "quota",
    "quota_exceeded": "quota",
    "billing_hard_limit_reached": "quota",
    "rate_limit_error": "rate",
    "rate_limit_exceeded": "rate",
    "too_many_requests": "rate",
    "api_error": "busy",
    "internal_error": "busy",
    "internal_server_error": "busy",
    "insufficient_system_resource": "busy",
    "overloaded": "busy",
    "overloaded_error": "busy",
    "server_error": "busy",
    "service_unavailable": "busy",
    "unavailable_error": "busy",
    "timeout_error": "timeout",
    "content_filter": "filter",
    "content_policy_violation": "filter",
    "invalid_prompt": "prompt",
}
"""The error codes of servers that speak OpenAI's API, with the kind of failure that each means."""

_REASONS: Mapping[Kind, FallbackReason] = {
    "model": "not_found",
    "key": "authentication",
    "quota": "rate_limit",
    "rate": "rate_limit",
    "busy": "busy",
    "timeout": "timeout",
}
"""Why another model may do better, by the kind of failure. Kinds that are missing need a change by the
caller, even when the status says that the server failed."""

BUSY_STATUSES = frozenset({502, 503, 504, 529})
"""The HTTP statuses of a server that is overloaded, or of a proxy that cannot reach it."""


def meaning_of(error: Exception) -> Meaning | None:
    """Return what *error* means, or None if timestep did not raise it."""
    kind = class_in_table(error)
    if kind is None:
        return None
    if isinstance(error, AllModelsFailedError):
        return _of_chain(error)
    meaning = MEANINGS[kind]
    if isinstance(error, OllamaStatusError):
        if kind is OllamaStatusError:
            meaning = meaning_of_status(error.status_code)
        elif isinstance(error, RateLimitError) and error.is_quota:
            meaning = replace(meaning, passes=False)
        if (code := kind_of_code(getattr(error, "code", None))) is not None:
            reason = reason_of_kind(code)
            meaning = _CALLER if reason is None else replace(meaning, reason=reason)
        meaning = replace(meaning, wait=error.retry_after)
    return meaning


def class_in_table(error: Exception) -> type[TimestepError] | None:
    """Return the class of *error* in the table, or None."""
    return next((kind for kind in type(error).__mro__ if kind in MEANINGS), None)


def _of_chain(error: AllModelsFailedError) -> Meaning:
    """Return what *error* means: asking the chain again helps if it helps one of its models.

    The wait is the shortest of those models, if each of them names one.
    """
    waits = [failure.retry_after for failure in error.failures if failure.is_passing]
    known = [wait for wait in waits if wait is not None]
    wait = min(known) if known and len(known) == len(waits) else None
    return replace(MEANINGS[AllModelsFailedError], passes=bool(waits), wait=wait)


def kind_of_code(code: object) -> Kind | None:
    """Return the kind of failure that the error code *code*, in any case, means; None if it is unknown."""
    return _CODES.get(str(code).lower())


def reason_of_kind(kind: Kind) -> FallbackReason | None:
    """Return why another model may do better after a failure of *kind*; None if the caller must act."""
    return _REASONS.get(kind)


def meaning_of_status(status: int) -> Meaning:
    """Return what a refusal with the HTTP *status* means."""
    return FAILED if status >= 500 else STATUSES.get(status, _CALLER)  # noqa: PLR2004 - HTTP's own number
