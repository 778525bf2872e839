"""`FallbackModel`: several models behind one name; the first that can answers."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, cast

from agents import (
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelRetryNormalizedError,
    ModelSettings,
    ModelTracing,
    Tool,
    TResponseInputItem,
    Usage,
    custom_span,
)
from agents.items import TResponseStreamEvent
from agents.usage import RequestUsage
from openai.types.responses.response_prompt_param import ResponsePromptParam

from timestep.errors import (
    AllModelsFailedError,
    CapabilityError,
    ConfigurationError,
    Failure,
    OllamaStatusError,
    TimestepError,
)
from timestep.fallback.reasons import StreamFailureError, failure_in, reason_of
from timestep.ollama.errors import retry_advice, within_bounds
from timestep.routing import FallbackRules

logger = logging.getLogger("timestep")

_SHOWS_NOTHING = {"response.created", "response.in_progress", "response.queued"}
_NOT_ASKED = {"attempts", "cooling_down"}


class FallbackModel(Model):
    """Models in order of preference, used as one.

    A call goes to the first model; when that cannot be reached, is not there, is out of quota or
    busy, and nothing was shown yet, to the next. An error of the caller goes to nobody else. A
    model that failed is passed over for a while, and asked only when no other could answer. One
    call asks each model once at most.

    A request that continues state a server keeps (``previous_response_id``, ``conversation_id``,
    ``prompt``) goes to the first model alone, because no other has that state.

    Args:
        models: By the name that errors and traces call them.
        rules: When the next one is asked.
        rested: By name, the time on *clock* when a cool-down ends; shared by models that should
            know of each other's failures.
        clock: Counts seconds.

    Raises:
        ConfigurationError: There are no *models*, one of them is none, or *rules* are none.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        rules: FallbackRules | None = None,
        *,
        rested: MutableMapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(models, rules)
        self.models = dict(models)
        self.rules = rules or FallbackRules()
        # One item is read or written at a time, which a dict does safely in any thread.
        self._rested: MutableMapping[str, float] = {} if rested is None else rested
        self._clock = clock

    async def close(self) -> None:
        """Close every model; an error does not keep the others from being closed.

        Raises:
            Exception: An error that a model raised.
        """
        async with AsyncExitStack() as stack:
            for model in self.models.values():
                stack.push_async_callback(model.close)

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """What the SDK should know about repeating a failed call.

        It repeats the chain as a whole, so a call asks each model as often as it would alone.
        """
        error = request.error
        if isinstance(error, AllModelsFailedError):
            return _advice_for_all(error)
        advice = retry_advice(error)
        if advice is None:
            answers = (model.get_retry_advice(request) for model in self.models.values())
            advice = next((answer for answer in answers if answer is not None), None)
        return None if advice is None else within_bounds(advice)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: ResponsePromptParam | None = None,
    ) -> ModelResponse:
        """The answer of the first model that can.

        Raises:
            AllModelsFailedError: None could.
            Exception: What a model raised that is no reason to ask the next.
        """
        state = (previous_response_id, conversation_id, prompt)
        round_ = self._begin(tracing, is_stateful=any(state))
        for name, model in round_:
            try:
                response = await model.get_response(
                    system_instructions,
                    input,
                    model_settings,
                    tools,
                    output_schema,
                    handoffs,
                    tracing,
                    previous_response_id=previous_response_id,
                    conversation_id=conversation_id,
                    prompt=prompt,
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
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: ResponsePromptParam | None = None,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The events of the first model that shows something.

        Raises:
            AllModelsFailedError: None did.
            Exception: What a model raised that is no reason to ask the next.
        """
        state = (previous_response_id, conversation_id, prompt)
        round_ = self._begin(tracing, is_stateful=any(state))
        for name, model in round_:
            events = model.stream_response(
                system_instructions,
                input,
                model_settings,
                tools,
                output_schema,
                handoffs,
                tracing,
                previous_response_id=previous_response_id,
                conversation_id=conversation_id,
                prompt=prompt,
            )
            try:
                try:
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

    def _begin(self, tracing: ModelTracing, *, is_stateful: bool) -> "_Round":
        if is_stateful:
            first = next(iter(self.models.items()))
            return _Round(dict([first]), None, {}, self._clock, tracing)
        return _Round(self.models, self.rules, self._rested, self._clock, tracing)


class _Round:
    """One pass over the models: who is asked, and why the others did not answer.

    Args:
        models: By name, first choice first.
        rules: When the next is asked; None for never.
        rested: When cool-downs end, by name.
        clock: Counts seconds.
        tracing: Of the call.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        rules: FallbackRules | None,
        rested: MutableMapping[str, float],
        clock: Callable[[], float],
        tracing: ModelTracing,
    ) -> None:
        self._models = models
        self._rules = rules
        self._rested = rested
        self._clock = clock
        self._tracing = tracing
        self._current = ""
        self._asked = 0
        self._reports: dict[str, Failure] = {}
        self.last_error: Exception | None = None

    @property
    def failures(self) -> list[Failure]:
        """Why models did not answer, in the order of the chain."""
        return [self._reports[name] for name in self._models if name in self._reports]

    def __iter__(self) -> Iterator[tuple[str, Model]]:
        """The models to ask, one by one: those that cool down when no other could answer."""
        now = self._clock()
        cooling = {
            name: end - now for name in self._models if (end := self._rested.get(name, now)) > now
        }
        if len(cooling) == len(self._models):
            cooling.clear()  # then all of them are what is left, and the first comes first
        for name, model in self._models.items():
            if name in cooling:
                text = f"it failed of late and is passed over for {cooling[name]:.0f} s more"
                self._report(Failure(name, "cooling_down", text, is_passing=True))
            elif self._has_attempts():
                self._current = name
                yield name, model
            else:
                text = f"it was not asked, because attempts is {self._asked}"
                self._report(Failure(name, "attempts", text))
        for name in cooling:
            if self._has_attempts():
                del self._reports[name]
                self._current = name
                yield name, self._models[name]

    def _has_attempts(self) -> bool:
        most = self._rules.attempts if self._rules else None
        return most is None or self._asked < most

    def reason(self, error: Exception) -> str | None:
        """Why the next model should be asked after *error*; None when it should not."""
        if self._rules is None:
            return None
        if isinstance(error, AllModelsFailedError) and isinstance(error.__cause__, Exception):
            return self.reason(error.__cause__)  # a chain within this one
        if isinstance(error, CapabilityError):
            return error.capability
        found = reason_of(error)
        return found if found in self._rules.on else None

    def goes_on(self, error: Exception) -> bool:
        """Note that the current model ended in *error*; True when the next should be asked."""
        reason = self.reason(error)
        if self._rules is None or reason is None:
            return False
        name = self._current
        advice = self._models[name].get_retry_advice(
            ModelRetryAdviceRequest(error=error, attempt=1, stream=False)
        )
        if advice is not None and advice.replay_safety == "unsafe":
            return False
        if not isinstance(error, CapabilityError):  # else nobody was asked, and nothing is amiss
            self._asked += 1
            self._rested[name] = self._clock() + self._rules.cool_down
        self.last_error = error
        is_passing = advice is not None and within_bounds(advice).suggested is True
        wait = advice.retry_after if advice is not None else None
        if isinstance(error, OllamaStatusError):
            wait = error.retry_after  # also where that is too long to advise it
        self._report(Failure(name, reason, _words(error), is_passing, wait))
        return True

    def noted_response(self, response: ModelResponse) -> ModelResponse:
        """*response* with the failures before it, in its items and its usage."""
        if self._reports:
            for item in response.output:
                self._note(item)
            _count(response.usage, self._asked)
        return response

    def noted_event(self, event: TResponseStreamEvent) -> TResponseStreamEvent:
        """*event* with the failures before it, in its items."""
        if self._reports:
            self._note(getattr(event, "item", None))
            for item in getattr(getattr(event, "response", None), "output", ()):
                self._note(item)
        return event

    def _note(self, item: Any) -> None:
        # Items of OpenAI's own have no such field, and its API takes none.
        data = getattr(item, "provider_data", None)
        if isinstance(data, dict):
            failed = {failure.model: failure.reason for failure in self.failures}
            known = cast("dict[str, Any]", data)
            item.provider_data = {**known, "fallback": {"model": self._current, "failed": failed}}

    def _report(self, failure: Failure) -> None:
        self._reports[failure.model] = failure
        data = {"model": failure.model, "reason": failure.reason}
        name = f"fallback: {failure.model} ({failure.reason})"
        span = custom_span(name, data, disabled=self._tracing.is_disabled())
        span.start()
        span.finish()
        if failure.reason not in _NOT_ASKED:
            logger.warning("%s did not answer: %s.", failure.model, failure.reason)


def _check(models: object, rules: object) -> None:
    """Refuse what would only fail when it is called."""
    if not isinstance(models, Mapping):
        raise ConfigurationError(
            f"A chain of models is {type(models).__name__}; write a dict of models by name."
        )
    if not models:
        raise ConfigurationError("A chain of models is empty; name one model at least.")
    for name, model in cast("Mapping[object, object]", models).items():
        if not isinstance(name, str):
            raise ConfigurationError(f"In a chain of models the name {name!r} is no text.")
        if not isinstance(model, Model):
            raise ConfigurationError(
                f"In a chain of models {name!r} is {type(model).__name__}, and no agents.Model; "
                "provider.get_model(name) gives one."
            )
    if not isinstance(rules, FallbackRules | None):
        raise ConfigurationError(
            f"The rules of a chain of models are {type(rules).__name__}; write FallbackRules(…)."
        )


async def _opening(
    events: AsyncIterator[TResponseStreamEvent], round_: _Round
) -> list[TResponseStreamEvent]:
    """The first of *events*, up to the one that shows something.

    Raises:
        StreamFailureError: That one says that the answer failed, which is a reason to go on.
    """
    opening: list[TResponseStreamEvent] = []
    async for event in events:
        failure = failure_in(event)
        if failure is not None and round_.reason(failure) is not None:
            raise failure
        opening.append(event)
        if event.type not in _SHOWS_NOTHING:
            break
    return opening


def _words(error: Exception) -> str:
    """What *error* says; of errors that others wrote only what surely holds no secret."""
    if isinstance(error, TimestepError | StreamFailureError):
        return str(error)
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f', status {status}' if isinstance(status, int) else ''}"


def _count(usage: Usage, failed: int) -> None:
    """Count *failed* requests into *usage*, as the SDK counts repeated ones."""
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


def _advice_for_all(error: AllModelsFailedError) -> ModelRetryAdvice:
    """Ask the chain again when one of its models may pass, as soon as the first of them may."""
    passing = [failure for failure in error.failures if failure.is_passing]
    waits = [failure.retry_after for failure in passing]
    known = [wait for wait in waits if wait is not None]
    wait = min(known) if known and len(known) == len(waits) else None
    reasons = {failure.reason for failure in error.failures}
    return ModelRetryAdvice(
        suggested=bool(passing),
        retry_after=wait,
        replay_safety="safe" if passing else None,
        reason=str(error),
        normalized=ModelRetryNormalizedError(
            message=str(error),
            retry_after=wait,
            is_abort=False,
            is_network_error="connection" in reasons,
            is_timeout="timeout" in reasons,
        ),
    )


async def _close(events: AsyncIterator[TResponseStreamEvent]) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()
