"""One try of a task: runs it as an application would, and judges the result."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import openai
from agents import (
    AgentsException,
    MaxTurnsExceeded,
    ModelBehaviorError,
    ModelSettings,
    RunConfig,
    Span,
    TResponseInputItem,
    UserError,
    custom_span,
    trace,
)
from agents.tracing import SpanError, TracingProcessor, gen_trace_id

from timestep import errors
from timestep.cli.agent.run import AgentRun
from timestep.cli.check.judge import Observation, judge
from timestep.cli.check.results import Try
from timestep.cli.check.staging import agent_for, messages_for
from timestep.cli.check.task import Task
from timestep.cli.errors import explain
from timestep.cli.streams import foreign_code
from timestep.config.settings import Settings
from timestep.errors import ModelOutputError
from timestep.errors.meaning import meaning_of
from timestep.fallback.reasons import reason_of
from timestep.openai import errors as openai_errors
from timestep.registry import MultiModelProvider
from timestep.traces.text import one_line

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
    """Keeps the last error of each trace's model calls.

    An error after the first output ends the stream with an event, which has its words but not its
    class. The class stands on the generation span.
    """

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


_LONGEST = 400


@dataclass(frozen=True)
class Plan:
    """What is tried, and how."""

    tasks: Sequence[Task]
    settings: Settings
    provider: MultiModelProvider
    errors: SpanErrors  # the errors of model calls; a trace processor of this process
    repeat: int
    patience: float  # the most seconds that one try may take
    progress: Callable[[Callable[[], str]], None]  # called after each try, also one left out
    # The id that the runs of one check share in the record.
    group: str = field(default_factory=lambda: f"check-{uuid4().hex[:12]}")


@dataclass(frozen=True)
class Stage:
    """What the tries of one model share."""

    plan: Plan
    model: str
    takes_temperature: bool = True
    takes_seed: bool = True

    def config(self, seed: int) -> RunConfig:
        """Return the configuration of a try: greedy, if the server allows it."""
        settings = ModelSettings(
            preserve_raw_usage=True,  # the server's own durations
            temperature=0.0 if self.takes_temperature else None,
            extra_args={"seed": seed} if self.takes_seed else None,
        )
        return RunConfig(
            model=self.model, model_provider=self.plan.provider, model_settings=settings
        )


async def attempt(
    task: Task, stage: Stage, *, number: int, window: int | None
) -> tuple[Try, Exception | None]:
    """Try *task* for the time *number*, which is the seed too. Return the error that ended it too."""
    trace_id, plan = gen_trace_id(), stage.plan
    about = {"model": stage.model, "task": task.name, "try": str(number)}
    seen = Observation()
    run = AgentRun(seen.take)
    with trace(f"check {task.name}", trace_id, plan.group, about):
        messages, config = messages_for(task, window), stage.config(number)
        error = await _play(task, messages, run, seen, config, plan.patience)
        on_span = plan.errors.take(trace_id)
        if error is not None and run.problem:  # an event ended the answer, and stands for an error
            error = on_span or ConnectionError(run.problem)
        reason = judge(task.expect, seen) if error is None else _words(error)
        with custom_span("check", {"passed": reason is None, "reason": reason}) as span:
            if reason is not None:
                span.set_error(SpanError(message=reason, data=None))
    is_error = error is not None and not is_of_model(error)
    costs = run.costs
    tried = Try(
        "passed" if reason is None else "error" if is_error else "failed",
        reason or "",
        trace_id if plan.settings.traces.enabled else None,
        costs.total_seconds,
        costs.input_tokens,
        costs.output_tokens,
        costs.first_token_seconds,
        costs.tokens_per_second,
        costs.load_seconds,
    )
    return tried, error


async def _play(
    task: Task,
    messages: Sequence[TResponseInputItem],
    run: AgentRun,
    seen: Observation,
    config: RunConfig,
    patience: float,
) -> Exception | None:
    """Play all turns of *task*. Return the error that ended it."""
    agent = agent_for(task)
    items: list[TResponseInputItem] = []
    limit = asyncio.timeout(patience)
    try:
        async with limit:
            for message in messages:
                with foreign_code():
                    result = await run.play(agent, [*items, message], config, task.max_turns)
                seen.end_turn()
                items, agent = result.to_input_list(), result.last_agent
                seen.output = result.final_output
                # Some servers count the tokens of thinking but do not show them.
                thought = result.context_wrapper.usage.output_tokens_details.reasoning_tokens
                seen.thinking = seen.thinking or bool(thought)
    except Exception as exc:  # noqa: BLE001 - models of other packages raise anything
        if limit.expired():
            return TimeoutError(f"No end within {patience:g} s; --timeout allows more.")
        return exc
    return None


def _words(error: Exception) -> str:
    # An error without a traceback was made here, and is in words already.
    words = explain(error) if error.__traceback__ else str(error)
    wrote = (
        f" It wrote {error.text!r}." if isinstance(error, ModelOutputError) and error.text else ""
    )
    return one_line(words + wrote, _LONGEST)
