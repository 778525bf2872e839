"""One call of a chain: decides which model is asked next, and records those that failed.

A round goes through the models in the order of the chain. A model that cools down is asked last.
The round ends when `FallbackRules.attempts` is used up.
For each model that did not answer, the round keeps a `Failure`, ends a span, and logs a warning.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

from agents import (
    Model,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelTracing,
    Usage,
    custom_span,
)
from agents.items import TResponseStreamEvent
from agents.usage import RequestUsage

from timestep.errors import AllModelsFailedError, CapabilityError, Failure, TimestepError
from timestep.errors.meaning import meaning_of
from timestep.errors.retry import within_bounds
from timestep.fallback.reasons import StreamFailureError, reason_of
from timestep.net.fallback_rules import FallbackRules
from timestep.net.retries import without_retries

logger = logging.getLogger("timestep")

_PASSING = {"busy", "connection", "rate_limit", "timeout"}
"""The reasons for which clients repeat a request."""
NOT_ASKED = frozenset({"attempts", "cooling_down"})
"""The reasons why a chain leaves out a model without asking it."""


@dataclass
class Round:
    """Iterates over the models to ask, and decides after each failure whether to go on."""

    models: Mapping[str, Model]  # by name, the first choice first
    rules: FallbackRules | None  # when the next model is asked; None for never
    rested: MutableMapping[str, float]  # by name, the time on the clock when a cool-down ends
    clock: Callable[[], float]  # counts seconds
    tracing: ModelTracing
    is_last: bool = False  # True when no model is left to ask after the current one
    last_error: Exception | None = None  # of the model that failed last
    _current: str = ""
    _asked: int = 0
    _reports: dict[str, Failure] = field(default_factory=dict[str, Failure])

    @property
    def failures(self) -> list[Failure]:
        """Why models did not answer, in the order of the chain."""
        return [self._reports[name] for name in self.models if name in self._reports]

    def __iter__(self) -> Iterator[tuple[str, Model]]:
        """Yield the models to ask. Those that cool down come last."""
        cooling = self._cooling()
        order = [*(name for name in self.models if name not in cooling), *cooling]
        for name, model in self.models.items():
            if name in cooling:
                text = f"it failed recently and is skipped for {cooling[name]:.0f} s more"
                self._report(Failure(name, "cooling_down", text, is_passing=True))
            elif self._has_attempts():
                self._begin(name, order)
                yield name, model
            else:
                text = f"it was not asked, because attempts is {self._asked}"
                self._report(Failure(name, "attempts", text))
        for name in cooling:
            if self._has_attempts():
                del self._reports[name]
                self._begin(name, order)
                yield name, self.models[name]

    def _begin(self, name: str, order: list[str]) -> None:
        most = self.rules.attempts if self.rules else None
        self._current = name
        self.is_last = name == order[-1] or self._asked + 1 == most

    def haste(self) -> AbstractContextManager[None]:
        """Return the context to ask the current model in, without waits while others are left.

        If the chain stays with a busy model, because of its rules, the model's client retries as
        usual.
        """
        goes_on = self.rules is not None and set(self.rules.on) >= _PASSING
        return without_retries() if goes_on and not self.is_last else nullcontext()

    def _cooling(self) -> dict[str, float]:
        """Return how many seconds each model still cools down; nothing if all of them do."""
        now = self.clock()
        cooling = {
            name: end - now for name in self.models if (end := self.rested.get(name, now)) > now
        }
        return {} if len(cooling) == len(self.models) else cooling

    def _has_attempts(self) -> bool:
        most = self.rules.attempts if self.rules else None
        return most is None or self._asked < most

    def reason(self, error: Exception) -> str | None:
        """Return why the next model should be asked after *error*, or None."""
        if self.rules is None:
            return None
        if isinstance(error, AllModelsFailedError) and isinstance(error.__cause__, Exception):
            return self.reason(error.__cause__)  # a chain within this one
        if isinstance(error, CapabilityError):
            return error.capability
        found = reason_of(error)
        return found if found in self.rules.on else None

    def goes_on(self, error: Exception) -> bool:
        """Note the *error* of the current model; return True if the next one should be asked."""
        reason = self.reason(error)
        if reason is None:
            return False
        name = self._current
        advice = self.models[name].get_retry_advice(
            ModelRetryAdviceRequest(error=error, attempt=1, stream=False)
        )
        if advice is not None and advice.replay_safety == "unsafe":
            return False
        self.last_error = error
        if not isinstance(error, CapabilityError):  # the server may never have been asked
            self._asked += 1
            self.rested[name] = self.clock() + (self.rules or FallbackRules()).cool_down
        self._report(_failure(name, reason, error, advice))
        return True

    def noted_response(self, response: ModelResponse) -> ModelResponse:
        """Return *response* with the earlier failures in its items and its usage."""
        if self._reports:
            for item in response.output:
                self._note(item)
            _count(response.usage, self._asked)
        return response

    def noted_event(self, event: TResponseStreamEvent) -> TResponseStreamEvent:
        """Return *event* with the earlier failures in its items."""
        if self._reports:
            self._note(getattr(event, "item", None))
            for item in getattr(getattr(event, "response", None), "output", ()):
                self._note(item)
        return event

    def _note(self, item: Any) -> None:
        # OpenAI's own items have no such field, and its API refuses unknown ones.
        data = getattr(item, "provider_data", None)
        if isinstance(data, dict):
            failed = {failure.model: failure.reason for failure in self.failures}
            known = cast("dict[str, Any]", data)
            item.provider_data = {**known, "fallback": {"model": self._current, "failed": failed}}

    def _report(self, failure: Failure) -> None:
        self._reports[failure.model] = failure
        data = {"model": failure.model, "reason": failure.reason}
        name = f"fallback: {failure.model} ({failure.reason})"
        span = custom_span(name, data, disabled=self.tracing.is_disabled())
        span.start()
        span.finish()
        if failure.reason not in NOT_ASKED:
            logger.warning("%s did not answer: %s.", failure.model, failure.reason)


def _failure(name: str, reason: str, error: Exception, advice: ModelRetryAdvice | None) -> Failure:
    meaning = meaning_of(error)
    if meaning is not None and meaning.wait is not None:
        wait: float | None = meaning.wait  # even when it is too long for the advice to have it
    else:
        wait = advice.retry_after if advice is not None else None
    is_passing = advice is not None and within_bounds(advice).suggested is True
    return Failure(name, reason, _words(error), is_passing, wait)


def _words(error: Exception) -> str:
    """Return what *error* says. Errors of other libraries may hold secrets, so only their class and
    status are told.
    """
    if isinstance(error, TimestepError | StreamFailureError):
        return str(error)
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f', status {status}' if isinstance(status, int) else ''}"


def _count(usage: Usage, failed: int) -> None:
    """Count *failed* requests in *usage*, as the SDK counts repeated ones."""
    if not failed:
        return
    done = usage.request_usage_entries or [_entry(usage)]
    usage.request_usage_entries = [*(_entry(Usage()) for _ in range(failed)), *done]
    usage.requests = max(usage.requests, 1) + failed


def _entry(usage: Usage) -> RequestUsage:
    return RequestUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_tokens_details=usage.input_tokens_details,
        output_tokens_details=usage.output_tokens_details,
    )
