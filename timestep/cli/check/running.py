"""Runs the tasks on the models, one try after the other, so that the times can be compared.

A model first answers a greeting: that loads it, says whether it can be reached, and whether its
server takes a temperature and a seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from timestep.cli.check.claims import note_claims, note_real_window
from timestep.cli.check.faults import may_be_settings
from timestep.cli.check.results import ModelResult, TaskResult
from timestep.cli.check.staging import haystack_tokens
from timestep.cli.check.task import Expectation, Task
from timestep.cli.check.trying import Outcome, Plan, Stage, attempt
from timestep.cli.errors import explain

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

    *done* is called with each result that is complete. A check of some tasks only, or of other tasks, cannot be compared.
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
