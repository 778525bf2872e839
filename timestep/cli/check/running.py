"""Runs the tasks on the models, one try after the other, so that the times can be compared.

A model first answers a greeting: that loads it, says whether it can be reached, and whether its
server takes a temperature and a seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from timestep.cli.check.results import ModelResult, TaskResult
from timestep.cli.check.staging import haystack_tokens
from timestep.cli.check.task import Expectation, Task
from timestep.cli.check.trying import Outcome, Plan, Stage, attempt, may_be_settings
from timestep.cli.errors import explain
from timestep.cli.inventory import list_openai, ollama_providers
from timestep.config.schema import OllamaSettings, OpenAIProviderSettings
from timestep.config.settings import Settings
from timestep.errors import OllamaError
from timestep.net.foreign import entries, mapping
from timestep.net.names import strip_cloud_suffix, tagged
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.provider import OllamaModelProvider
from timestep.registry import MultiModelProvider
from timestep.routing import chain, split_prefix

_RESERVE = 512
"""The tokens of a window that are left for the rest of the prompt and the answer."""
_GREETING = Task(
    name="greeting",
    title="A greeting, which loads the model",
    instructions="You are a helpful assistant.",
    input="Say hello.",
    expect=Expectation(calls=()),
)


async def check_models(
    results: Sequence[ModelResult], plan: Plan, *, done: Callable[[ModelResult], None] | None
) -> None:
    """Try the tasks on each model and fill *results*, which are valid at any time.

    *done* is called with each result that is complete.
    """
    group = f"check-{uuid4().hex[:12]}"
    for result in results:
        stage = await _prepare(result, plan, group)
        for task in plan.tasks:
            if stage is None:
                _skip(plan, result, task, plan.repeat)
            else:
                await _check_task(result, task, stage)
        if done is not None:
            done(result)


async def _prepare(result: ModelResult, plan: Plan, group: str) -> Stage | None:
    """Return the stage for the model's server; None, with a problem in *result*, if it fails."""
    try:
        plan.provider.get_model(result.model)
        await note_claims(result, plan.settings, plan.provider)
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
        result.problem = explain(exc)
        return None
    stage, outcome = await _greet(Stage(plan, result.model, group))
    if outcome.result.verdict == "error":
        result.problem = outcome.result.reason
        return None
    result.load_seconds = outcome.load_seconds
    result.is_greedy, result.has_seed = stage.takes_temperature, stage.takes_seed
    await note_real_window(result, plan.provider)
    return stage


async def _greet(stage: Stage) -> tuple[Stage, Outcome]:
    """Greet the model; leave out the seed, the temperature, or both, if the server refuses them."""
    stages = (
        stage,
        replace(stage, takes_seed=False),
        replace(stage, takes_temperature=False),
        replace(stage, takes_seed=False, takes_temperature=False),
    )
    for each in stages[:-1]:
        outcome = await attempt(_GREETING, each, number=1, window=None)
        if outcome.error is None or not may_be_settings(outcome.error):
            return each, outcome
    return stages[-1], await attempt(_GREETING, stages[-1], number=1, window=None)


async def _check_task(result: ModelResult, task: Task, stage: Stage) -> None:
    plan = stage.plan
    of_task = TaskResult(task.name, task.shows, skipped=_why_skipped(task, result))
    result.tasks.append(of_task)
    if of_task.skipped:
        _skip(plan, result, task, plan.repeat)
        return
    for number in range(1, plan.repeat + 1):
        outcome = await attempt(task, stage, number=number, window=result.window)
        lacks_it = number == 1 and task.needs and task.needs not in (result.claimed or ())
        if lacks_it and outcome.error is not None and may_be_settings(outcome.error):
            of_task.skipped = outcome.result.reason
            _skip(plan, result, task, plan.repeat - number + 1)
            return
        of_task.tries.append(outcome.result)
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


def _skip(plan: Plan, result: ModelResult, task: Task, count: int) -> None:
    for _ in range(count):
        plan.progress(lambda: f"{result.model} {task.name}")


_PATIENCE = 10.0


async def note_claims(
    result: ModelResult, settings: Settings, provider: MultiModelProvider
) -> None:
    """Put the server's facts about a model into *result*. For a chain, about its first model."""
    result.leads_to = chain(result.model, settings.targets, settings.default_model)
    prefix, name = split_prefix(result.leads_to[0])
    ollama = ollama_providers(provider).get(prefix or "")
    if ollama is not None:
        table = settings.tables.get(prefix or "")
        own = table if isinstance(table, OllamaSettings) else settings.ollama
        asked = own.options_of(name, prefix or "").get("num_ctx")
        result.window_configured = asked if isinstance(asked, int) else None
        await _note_abilities(result, ollama, name)
    elif isinstance(table := settings.tables.get(prefix or ""), OpenAIProviderSettings):
        # OpenAI's own list has no windows.
        inventory = await list_openai(prefix or "", table, _PATIENCE)
        lengths = {offer.name: offer.context_length for offer in inventory.offers}
        result.context_length = lengths.get(result.leads_to[0])


async def note_real_window(result: ModelResult, provider: MultiModelProvider) -> None:
    """Put the window that an Ollama server has allocated for a model into *result*."""
    prefix, name = split_prefix(result.leads_to[0])
    ollama = ollama_providers(provider).get(prefix or "")
    for wire in ollama.wires(name) if ollama else ():
        if wire.endpoint.is_cloud:
            continue
        try:
            running, _ = await wire.ask("/api/ps")
        except OllamaError:
            continue  # a proxy without this path
        result.window_real = result.window_real or _allocated(running, name)


async def _note_abilities(result: ModelResult, ollama: OllamaModelProvider, name: str) -> None:
    wire = ollama.wire(name)
    served_as = strip_cloud_suffix(name) if wire.endpoint.is_cloud else name
    abilities = await Catalogue(wire).abilities(served_as, ask=True)
    if abilities.capabilities is not None:
        result.claimed = sorted(abilities.capabilities)
    result.context_length = abilities.context_length


def _allocated(running: Any, name: str) -> int | None:
    for entry in map(mapping, entries(mapping(running).get("models"))):
        length = entry.get("context_length")
        if tagged(str(entry.get("name"))) == tagged(name) and isinstance(length, int):
            return length or None
    return None
