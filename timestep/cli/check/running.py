"""Runs the tasks on the models as an application would, one try after the other, and judges.

The tries do not overlap, so that their times can be compared. A model first answers a greeting:
that loads it, says whether it can be reached, and whether its server takes a temperature and a seed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, get_args
from uuid import uuid4

import openai
from agents import (
    AgentsException,
    HandoffCallItem,
    HandoffOutputItem,
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
from timestep.cli.check.results import ModelResult, TaskResult, Try
from timestep.cli.check.staging import agent_for, haystack_tokens, messages_for
from timestep.cli.check.task import Expectation, Task
from timestep.cli.errors import explain
from timestep.cli.inventory import list_openai, look
from timestep.cli.streams import foreign_code
from timestep.config.schema import OpenAIProviderSettings
from timestep.config.settings import Settings
from timestep.errors import ModelOutputError
from timestep.errors.meaning import meaning_of
from timestep.factory.endpoints import ollama_endpoints
from timestep.fallback.reasons import reason_of
from timestep.fallback.round import NOT_ASKED
from timestep.net.fallback_rules import FallbackReason
from timestep.net.json_parts import mapping
from timestep.openai import errors as openai_errors
from timestep.registry import MultiModelProvider
from timestep.routing import split_prefix
from timestep.traces.text import one_line


class SpanErrors(TracingProcessor):
    """Keeps the last error of each trace's model calls.

    An error after the first output ends the stream with an event, which has its words but not its
    class. The class stands on the generation span.
    """

    def __init__(self) -> None:
        self._errors: dict[str, Exception] = {}

    def take(self, trace_id: str) -> Exception | None:
        """Return the error of the trace *trace_id*, rebuilt, and forget it. None if unknown."""
        return self._errors.pop(trace_id, None)

    def on_span_end(self, span: Span[Any]) -> None:
        """Note the error of *span*."""
        data = mapping(span.error["data"] if span.error else None)
        name = str(data.get("type"))
        kind: object = getattr(errors, name, None) or getattr(openai_errors, name, None)
        if isinstance(kind, type) and issubclass(kind, AgentsException):
            self._errors[span.trace_id] = kind(str(data.get("error")).removeprefix(f"{name}: "))

    def _ignore(self, *_: Any, **__: Any) -> None:
        pass

    on_span_start = on_trace_start = on_trace_end = shutdown = force_flush = _ignore


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

    # Of one model: its name, and what its server takes.
    model: str = ""
    takes_temperature: bool = True
    takes_seed: bool = True

    def config(self, seed: int) -> RunConfig:
        """Return the configuration of a try: greedy, if the server allows it."""
        settings = ModelSettings(
            preserve_raw_usage=True,  # the server's own durations
            temperature=0.0 if self.takes_temperature else None,
            extra_args={"seed": seed} if self.takes_seed else None,
        )
        return RunConfig(model=self.model, model_provider=self.provider, model_settings=settings)


_LONGEST = 400
_RESERVE = 512
"""The tokens of a window that are left for the rest of the prompt and the answer."""
_GREETING = Task(
    name="greeting",
    title="A greeting, which loads the model",
    instructions="You are a helpful assistant.",
    input="Say hello.",
    expect=Expectation(calls=()),
)
_PATIENCE = 10.0


async def check_models(
    results: Sequence[ModelResult], plan: Plan, *, done: Callable[[ModelResult], None] | None
) -> None:
    """Try the tasks on each model and fill *results*. *done* is told each complete result."""
    for result in results:
        prepared = await _prepare(result, plan)
        for task in plan.tasks:
            await _check_task(result, task, prepared or plan)
        if done is not None:
            done(result)


async def _prepare(result: ModelResult, plan: Plan) -> Plan | None:
    """Return the plan for the model and its server; None, with a problem in *result*, if it fails."""
    try:
        plan.provider.get_model(result.model)
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
        result.problem = explain(exc)
        return None
    result.leads_to = plan.settings.models_of(result.model)
    plan, greeted = await _greet(replace(plan, model=result.model))
    if greeted.verdict == "error":
        result.problem = greeted.reason
        return None
    result.load_seconds = greeted.load_seconds
    result.is_greedy, result.has_seed = plan.takes_temperature, plan.takes_seed
    await _note_facts(result, plan.settings)
    return plan


async def _greet(plan: Plan) -> tuple[Plan, Try]:
    """Greet the model; leave out the seed, the temperature, or both, if the server refuses them."""
    for seed, temperature in ((True, True), (False, True), (True, False), (False, False)):
        plan = replace(plan, takes_seed=seed, takes_temperature=temperature)
        greeted, error = await attempt(_GREETING, plan, number=1, window=None)
        if error is None or not may_be_settings(error):
            break
    return plan, greeted


async def _check_task(result: ModelResult, task: Task, plan: Plan) -> None:
    of_task = TaskResult(task.name, task.shows, skipped=_why_skipped(task, result))
    if not result.problem:
        result.tasks.append(of_task)
    for number in range(1, plan.repeat + 1):
        if not result.problem and not of_task.skipped:
            tried, error = await attempt(task, plan, number=number, window=result.window)
            lacks_it = number == 1 and task.needs and task.needs not in (result.claimed or ())
            if lacks_it and error is not None and may_be_settings(error):
                of_task.skipped = tried.reason
            else:
                of_task.tries.append(tried)
        plan.progress(lambda: f"{result.model} {task.name}")


def _why_skipped(task: Task, result: ModelResult) -> str:
    if task.needs and result.claimed is not None and task.needs not in result.claimed:
        return f"the server lists no {task.needs} for this model"
    if task.haystack is None:
        return ""
    if result.window is None:
        return "the window is not known" if task.haystack.tokens == "window" else ""
    needed = haystack_tokens(task, result.window) + _RESERVE
    if needed > result.window:
        return f"the window holds {result.window:,} tokens; this needs {needed:,}"
    return ""


async def _note_facts(result: ModelResult, settings: Settings) -> None:
    """Put what its servers say about a model into *result*. For a chain, about its first model."""
    prefix, name = split_prefix(result.leads_to[0])
    if (table := settings.ollama_tables.get(prefix or "")) is not None:
        asked = table.options_of(name, prefix or "").get("num_ctx")
        result.window_configured = asked if isinstance(asked, int) else None
        endpoints = ollama_endpoints(settings)[prefix or ""]
        routed, served_as = endpoints.route(name)
        for endpoint in endpoints.pool or [routed]:
            with suppress(Exception):  # what a server does not say stays unknown
                async with asyncio.timeout(_PATIENCE):
                    [offer] = await look(endpoint, served_as)
                if offer.capabilities is not None:
                    result.claimed = sorted(offer.capabilities)
                result.context_length = result.context_length or offer.context_length
                result.window_real = result.window_real or offer.loaded or None
    elif isinstance(other := settings.providers.get(prefix or ""), OpenAIProviderSettings):
        inventory = await list_openai(prefix or "", other, _PATIENCE)
        lengths = {offer.name: offer.context_length for offer in inventory.offers}
        result.context_length = lengths.get(result.leads_to[0])


_REFUSALS = {400, 422}
_OF_SERVERS = NOT_ASKED.union(get_args(FallbackReason))
"""Reasons of a chain that are not about its models. The others name what a model cannot do."""


def is_of_model(error: Exception) -> bool:
    """Return whether the model is to blame for *error*, not its server or the request."""
    if isinstance(error, errors.AllModelsFailedError):
        reasons = {each.reason for each in error.failures}
        return bool(reasons) and reasons.isdisjoint(_OF_SERVERS)
    meaning = meaning_of(error)
    if meaning is not None:
        return meaning.fault == "model"
    return isinstance(error, MaxTurnsExceeded | ModelBehaviorError) and reason_of(error) is None


def may_be_settings(error: Exception) -> bool:
    """Return whether *error* may be about a setting that the server or its client does not take."""
    match error:
        case errors.ContextWindowExceededError() | errors.UnknownModelError():
            return False
        case openai.APIStatusError() | errors.OllamaStatusError():
            return error.status_code in _REFUSALS
        case _:
            return isinstance(error, TypeError | UserError)


async def attempt(
    task: Task, plan: Plan, *, number: int, window: int | None
) -> tuple[Try, Exception | None]:
    """Try *task*; *number* counts the tries and is the seed. Return the error that ended it as well."""
    trace_id = gen_trace_id()
    about = {"model": plan.model, "task": task.name, "try": str(number)}
    seen, run = Observation(), AgentRun(None)
    with trace(f"check {task.name}", trace_id, plan.group, about):
        messages, config = messages_for(task, window), plan.config(number)
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
    agent = first = agent_for(task)
    items: list[TResponseInputItem] = []
    limit = asyncio.timeout(patience)
    try:
        async with limit:
            for message in messages:
                with foreign_code():
                    result = await run.play(agent, [*items, message], config, task.max_turns)
                hidden = HandoffCallItem | HandoffOutputItem
                seen.add_turn(
                    [i.to_input_item() for i in result.new_items if not isinstance(i, hidden)]
                )
                seen.agent = "" if result.last_agent is first else result.last_agent.name
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
