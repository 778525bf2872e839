"""Whether and when to ask again: ``Retry-After``, the longest wait, and advice for the SDK. Pure."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from email.utils import parsedate_to_datetime
from math import inf

from agents import ModelRetryAdvice, ModelRetryNormalizedError

from timestep.errors import (
    AllModelsFailedError,
    BrokenAnswerError,
    OllamaConnectionError,
    OllamaError,
    OllamaTimeoutError,
)
from timestep.errors.meaning import meaning_of

LONGEST_WAIT = 60.0
"""The longest ``Retry-After`` in seconds that a retry waits, as in OpenAI's own client."""

TRY_AGAIN = "Another try may do better: ModelSettings(retry=…) repeats it."
ASK_AGAIN = "The same request may work in a moment; ModelSettings(retry=…) repeats it."

_OF_SERVERS = (OllamaError, BrokenAnswerError, AllModelsFailedError)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the *headers* of an answer ask to wait, or None.

    A date is measured against the server's own ``Date``. Names are in lower case.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(value, headers.get("date", ""))
    return seconds if 0 <= seconds < inf else None


def _seconds_until(date: str, now: str) -> float | None:
    try:
        wait = parsedate_to_datetime(date) - parsedate_to_datetime(now)
    except (TypeError, ValueError, OverflowError):
        return None
    return max(wait.total_seconds(), 0.0)


def retry_advice(error: Exception) -> ModelRetryAdvice | None:
    """Return the advice for the SDK about repeating a request that ended in *error*.

    None if no server caused the error.
    """
    meaning = meaning_of(error)
    if meaning is None or not isinstance(error, _OF_SERVERS):
        return None
    reasons, status = set[str](), {"status_code": getattr(error, "status_code", None)}
    if isinstance(error, AllModelsFailedError):
        reasons, status = {failure.reason for failure in error.failures}, {}  # that of its cause
    normalized = ModelRetryNormalizedError(
        **status,
        message=str(error),
        retry_after=meaning.wait,
        is_abort=False,
        is_network_error=isinstance(error, OllamaConnectionError) or "connection" in reasons,
        is_timeout=isinstance(error, OllamaTimeoutError) or "timeout" in reasons,
    )
    # A request to Ollama changes nothing on the server, so it is safe to repeat. A chain shows nothing.
    is_safe = meaning.passes and isinstance(error, OllamaError | AllModelsFailedError)
    return within_bounds(
        ModelRetryAdvice(
            suggested=meaning.passes,
            retry_after=meaning.wait,
            replay_safety="safe" if is_safe else None,
            reason=str(error),
            normalized=normalized,
        )
    )


def within_bounds(advice: ModelRetryAdvice) -> ModelRetryAdvice:
    """Return *advice*, or advice against a retry if the server asks for over `LONGEST_WAIT`.

    Such a long wait looks like a hang. It is left out of the advice, because the SDK's policies
    would sleep for it.
    """
    wait = advice.retry_after
    if wait is None or wait <= LONGEST_WAIT:
        return advice
    normalized = copy(advice.normalized) or ModelRetryNormalizedError(retry_after=None)
    normalized.retry_after = None
    return replace(
        advice,
        suggested=False,
        retry_after=None,
        replay_safety=None if advice.replay_safety == "safe" else advice.replay_safety,
        reason=(
            f"{advice.reason} The server asks to wait {wait:g} s, longer than the "
            f"{LONGEST_WAIT:g} s that a retry waits at most."
        ),
        normalized=normalized,
    )
