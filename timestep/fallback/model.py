"""`FallbackModel`: several models behind one name. The first one that can answer does."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

from agents import (
    Model,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelSettings,
    ModelTracing,
    TResponseInputItem,
)
from agents.items import TResponseStreamEvent

from timestep.answer.call import state_in
from timestep.errors import AllModelsFailedError, ConfigurationError
from timestep.errors.retry import retry_advice, within_bounds
from timestep.fallback.reasons import failure_in
from timestep.fallback.round import Round
from timestep.net.fallback_rules import FallbackRules, check_rules
from timestep.net.secrets import Unshown

logger = logging.getLogger("timestep")

_SHOWS_NOTHING = {"response.created", "response.in_progress", "response.queued"}


_OTHERS = ("tools", "output_schema", "handoffs", "tracing")
"""What a call has after its settings, in the SDK's order."""


class FallbackModel(Model):
    """Models in order of preference, used as one.

    A call goes to the first model. If that model cannot be reached, does not exist, is out of quota
    or busy, and has shown nothing yet, the call goes to the next one. Other errors are raised. A
    model that failed is skipped for a while, unless every other model failed too. One call asks
    each model at most once. While another model is left, the client of a model does not retry.

    A request that continues state on a server (``previous_response_id``, ``conversation_id``,
    ``prompt``) goes to the first model alone, because only that server has the state.

    Args:
        models: By the name for errors and traces, the first choice first.
        rules: When the next model is asked.
        rested: By name, the time on *clock* when a cool-down ends. Chains may share it.
        clock: Counts seconds.

    Raises:
        ConfigurationError: *models* is empty or holds something else, or *rules* are of a wrong
            type.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        rules: FallbackRules | None = None,
        *,
        rested: MutableMapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(models)
        self.models = dict(models)
        try:
            self.rules = check_rules(rules)
        except ValueError as exc:
            raise ConfigurationError(f"rules: {exc}.") from exc
        # One item is read or written at a time, which a dict does safely in any thread.
        self._rested: MutableMapping[str, float] = {} if rested is None else rested
        self._clock = clock

    async def close(self) -> None:
        """Close every model, even if closing one of them fails.

        Raises:
            Exception: What closing a model raised.
        """
        async with AsyncExitStack() as stack:
            for model in self.models.values():
                stack.push_async_callback(model.close)

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """Return the advice for the SDK about repeating a failed call.

        The SDK repeats the whole chain.
        """
        advice = retry_advice(request.error)
        if advice is None and not isinstance(request.error, AllModelsFailedError):
            answers = (model.get_retry_advice(request) for model in self.models.values())
            advice = next((answer for answer in answers if answer is not None), None)
        return None if advice is None else within_bounds(advice)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        *others: Any,
        **more: Any,
    ) -> ModelResponse:
        """Return the answer of the first model that gives one.

        Raises:
            AllModelsFailedError: Every model failed.
            Exception: A model raised it, and another model would not help.
        """
        settings = Unshown(model_settings)  # extra_headers may hold a key
        del model_settings
        round_ = self._begin(others, more)
        for name, model in round_:
            try:
                with round_.haste():
                    response = await model.get_response(
                        system_instructions, input, settings.value, *others, **more
                    )
            except Exception as exc:
                if not round_.goes_on(exc):
                    raise
            else:
                self._rested.pop(name, None)
                return round_.noted_response(response)
        raise AllModelsFailedError(round_.failures) from round_.last_error

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        *others: Any,
        **more: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Yield the events of the first model that shows something.

        Raises:
            AllModelsFailedError: Every model failed.
            Exception: A model raised it, and another model would not help.
        """
        settings = Unshown(model_settings)  # extra_headers may hold a key
        del model_settings
        round_ = self._begin(others, more)
        for name, model in round_:
            events = model.stream_response(
                system_instructions, input, settings.value, *others, **more
            )
            try:
                try:
                    with round_.haste():
                        opening = await _opening(events, round_)
                except Exception as exc:
                    if not round_.goes_on(exc):
                        raise
                    continue
                self._rested.pop(name, None)
                for event in opening:
                    yield round_.noted_event(event)
                async for event in events:
                    yield round_.noted_event(event)
                return
            finally:
                await _close(events)
        raise AllModelsFailedError(round_.failures) from round_.last_error

    def _begin(self, others: Sequence[Any], more: Mapping[str, Any]) -> Round:
        given = {**dict(zip(_OTHERS, others, strict=False)), **more}
        tracing: ModelTracing = given["tracing"]
        if state_in(given):
            first = next(iter(self.models.items()))
            return Round(dict([first]), None, {}, self._clock, tracing)
        return Round(self.models, self.rules, self._rested, self._clock, tracing)


def _check(models: object) -> None:
    """Refuse a chain that would fail when it is called."""
    if not isinstance(models, Mapping):
        raise ConfigurationError(
            f"A chain of models is {type(models).__name__}; write a dict of models by name."
        )
    if not models:
        raise ConfigurationError("The chain of models is empty; name at least one model.")
    for name, model in cast("Mapping[object, object]", models).items():
        if not isinstance(name, str):
            raise ConfigurationError(f"In a chain of models the name {name!r} is not a string.")
        if not isinstance(model, Model):
            raise ConfigurationError(
                f"In a chain of models {name!r} is {type(model).__name__}, not an agents.Model; "
                "provider.get_model(name) returns one."
            )


async def _opening(
    events: AsyncIterator[TResponseStreamEvent], round_: Round
) -> list[TResponseStreamEvent]:
    """Return the first of *events*, up to the one that shows something."""
    opening: list[TResponseStreamEvent] = []
    async for event in events:
        failure = failure_in(event)
        if failure is not None and round_.reason(failure) is not None:
            raise failure
        opening.append(event)
        if event.type not in _SHOWS_NOTHING:
            break
    return opening


async def _close(events: AsyncIterator[TResponseStreamEvent]) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()
