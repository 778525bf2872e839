"""Runs the tasks on the models, one try after the other, so that the times can be compared.

A model first answers a greeting: that loads it, says whether it can be reached, and whether its
server takes a temperature and a seed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import httpx

from timestep.cli.check.results import ModelResult, TaskResult, Try
from timestep.cli.check.staging import haystack_tokens
from timestep.cli.check.task import Expectation, Task
from timestep.cli.check.trying import Plan, Stage, attempt, may_be_settings
from timestep.cli.errors import explain
from timestep.cli.inventory import list_openai, look
from timestep.config.schema import OllamaSettings, OpenAIProviderSettings
from timestep.config.settings import Settings
from timestep.factory.endpoints import ollama_endpoints
from timestep.routing import split_prefix

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
    """Try the tasks on each model and fill *results*, which are valid at any time.

    *done* is called with each result that is complete.
    """
    for result in results:
        stage = await _prepare(result, plan)
        for task in plan.tasks:
            await _check_task(result, task, stage, plan)
        if done is not None:
            done(result)


async def _prepare(result: ModelResult, plan: Plan) -> Stage | None:
    """Return the stage for the model's server; None, with a problem in *result*, if it fails."""
    try:
        plan.provider.get_model(result.model)
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
        result.problem = explain(exc)
        return None
    result.leads_to = plan.settings.models_of(result.model)
    stage, greeted = await _greet(Stage(plan, result.model))
    if greeted.verdict == "error":
        result.problem = greeted.reason
        return None
    result.load_seconds = greeted.load_seconds
    result.is_greedy, result.has_seed = stage.takes_temperature, stage.takes_seed
    with suppress(httpx.HTTPError, TimeoutError, ValueError):
        await _note_facts(result, plan.settings)
    return stage


async def _greet(stage: Stage) -> tuple[Stage, Try]:
    """Greet the model; leave out the seed, the temperature, or both, if the server refuses them."""
    for seed, temperature in ((True, True), (False, True), (True, False), (False, False)):
        stage = replace(stage, takes_seed=seed, takes_temperature=temperature)
        greeted, error = await attempt(_GREETING, stage, number=1, window=None)
        if error is None or not may_be_settings(error):
            break
    return stage, greeted


async def _check_task(result: ModelResult, task: Task, stage: Stage | None, plan: Plan) -> None:
    of_task = TaskResult(task.name, task.shows, skipped=_why_skipped(task, result))
    if stage is not None:
        result.tasks.append(of_task)
    for number in range(1, plan.repeat + 1):
        if stage is not None and not of_task.skipped:
            tried, error = await attempt(task, stage, number=number, window=result.window)
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
    table = settings.tables.get(prefix or "")
    if isinstance(table, OllamaSettings):
        asked = table.options_of(name, prefix or "").get("num_ctx")
        result.window_configured = asked if isinstance(asked, int) else None
        endpoints = ollama_endpoints(settings)[prefix or ""]
        routed, served_as = endpoints.route(name)
        for endpoint in endpoints.pool or [routed]:
            async with asyncio.timeout(_PATIENCE):
                [offer] = await look(endpoint, served_as)
            if offer.capabilities is not None:
                result.claimed = sorted(offer.capabilities)
            result.context_length = offer.context_length
            result.window_real = result.window_real or offer.loaded or None
    elif isinstance(table, OpenAIProviderSettings):  # OpenAI's own list has no windows
        inventory = await list_openai(prefix or "", table, _PATIENCE)
        lengths = {offer.name: offer.context_length for offer in inventory.offers}
        result.context_length = lengths.get(result.leads_to[0])
