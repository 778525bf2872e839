"""One attempt of a model call, for an engine that repeats calls itself.

An engine schedules the next attempt, so the clients must not repeat a request inside this one. An
attempt that failed tells the engine whether another may work, and when.
"""

from dataclasses import dataclass, replace

from agents import ModelRetrySettings, ModelSettings, UserError
from openai import APIStatusError

from timestep.errors.meaning import class_in_table, meaning_of, meaning_of_status
from timestep.errors.retry import retry_after


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """What an engine should know about a failed attempt."""

    # The class of timestep's error table, whatever the server speaks; for an error that is
    # not in the table its own class.
    name: str
    message: str  # what happened
    passes: bool  # True when another attempt may work
    wait: float | None = None  # how many seconds the server asks to wait, if it says so


def failure_of(error: Exception) -> FailedAttempt | None:
    """Return what *error* means for the next attempt.

    None for an error that is not in the table and not from openai's client.
    """
    kind, meaning = class_in_table(error), meaning_of(error)
    if kind is not None and meaning is not None:
        return FailedAttempt(kind.__name__, str(error), meaning.passes, meaning.wait)
    name = type(error).__name__
    if isinstance(error, APIStatusError):
        return FailedAttempt(name, str(error), _passes(error), retry_after(error.response.headers))
    if isinstance(error, UserError):
        return FailedAttempt(name, str(error), passes=False)
    return None


def _passes(error: APIStatusError) -> bool:
    """Return whether the request may work next time; OpenAI's servers may say so themselves."""
    told = error.response.headers.get("x-should-retry")
    if told in {"true", "false"}:
        return told == "true"
    return meaning_of_status(error.status_code).passes


def once(settings: ModelSettings) -> ModelSettings:
    """Return *settings* with which a model sends one request."""
    return replace(settings, retry=ModelRetrySettings(max_retries=0))
