"""``timestep check``: find out which models can drive an agent."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_model
from timestep.cli.context import Context, configuration_options
from timestep.cli.options import timeout_option
from timestep.cli.output import did_you_mean, json_option, print_json, progress_bar, write_file

if TYPE_CHECKING:
    from timestep.cli.check.results import ModelResult
    from timestep.cli.check.task import Task
    from timestep.config.settings import Settings

_REPEAT = 3
_ABOUT = (
    "not a benchmark. They show whether a model can drive an agent at all through this "
    "configuration, not how well it does a job. Try your own tasks with --file."
)
"""What the results are worth."""


@click.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1, shell_complete=complete_model)
@click.option("--quick", is_flag=True, help="Try five tasks, once each.")
@click.option(
    "-t", "--task", "names", metavar="NAME", multiple=True, help="Only this task; may be repeated."
)
@click.option(
    "--file",
    "paths",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Try the task in FILE instead of the ones that come with timestep; may be repeated.",
)
@click.option("--list", "is_list", is_flag=True, help="List the tasks, and try nothing.")
@click.option(
    "--repeat",
    type=click.IntRange(1, 1_000),
    metavar="K",
    help=f"Try each task K times.  [default: {_REPEAT}, or 1 with --quick]",
)
@click.option(
    "--require",
    "required",
    metavar="NAME",
    multiple=True,
    help="Exit with 1 unless every model passes this task each time; may be repeated.",
)
@timeout_option(default=300.0, help="Give up a try after this many seconds.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the results to FILE as one HTML page.",
)
@json_option
@configuration_options
def check(
    context: Context,
    *,
    models: tuple[str, ...],
    quick: bool,
    names: tuple[str, ...],
    paths: tuple[Path, ...],
    is_list: bool,
    repeat: int | None,
    required: tuple[str, ...],
    timeout: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Find out which models can drive an agent: what works, how often, and how fast.

    Each MODEL gets the same small tasks, through the same provider, settings and Runner that an
    application uses. Code decides what is right, never another model. Without MODEL, each model
    that the default model and the aliases lead to is tried. Ctrl-C keeps what is done.
    """
    tasks = _chosen(paths, names, required, quick=quick)
    if is_list:
        _list(tasks, as_json=as_json)
        return
    if output is not None and not output.absolute().parent.is_dir():
        raise click.UsageError(f"--output {output}: there is no folder {output.parent}.")
    from timestep.cli.check.results import ModelResult

    results = [ModelResult(name) for name in dict.fromkeys(models or _configured(context.settings))]
    repeat = repeat or (1 if quick else _REPEAT)
    try:
        _run(context, results, tasks, repeat, timeout, is_kept=not names and not paths)
    finally:
        _report([each for each in results if each.tasks or each.problem], output, as_json=as_json)
    lacking = [
        (result.model, name)
        for result in results
        for name in required
        if not any(task.name == name and task.is_passed for task in result.tasks)
    ]
    for model, name in lacking:
        click.echo(f"{model} did not pass {name}, which is required.", err=True)
    if lacking or all(each.problem for each in results):
        raise click.exceptions.Exit(1)


def _run(
    context: Context,
    results: "list[ModelResult]",
    tasks: "list[Task]",
    repeat: int,
    patience: float,
    *,
    is_kept: bool,
) -> None:
    """Try *tasks* on the models of *results*; keep the results for other commands if *is_kept*."""
    from agents import add_trace_processor

    from timestep.cli.agent.setup import recorded
    from timestep.cli.check.earlier import keep_result
    from timestep.cli.check.running import Plan, SpanErrors, check_models
    from timestep.cli.event_loop import impatient_runner

    settings, provider = context.settings, context.build_provider()
    count = len(results) * len(tasks) * repeat
    with recorded(settings), impatient_runner() as loop, progress_bar(count) as progress:
        plan = Plan(tasks, settings, provider, SpanErrors(), repeat, patience, progress)
        add_trace_processor(plan.errors)
        loop.run(check_models(results, plan, done=keep_result if is_kept else None))


def _report(results: "list[ModelResult]", output: Path | None, *, as_json: bool) -> None:
    """Print *results*, and write the page."""
    if not results:
        return
    from timestep.cli.check.table import comparison_lines, model_lines, page
    from timestep.cli.terminal import width

    count = max(len(each.tasks) for each in results)
    tasks = "1 small task is" if count == 1 else f"{count} small tasks are"
    about = f"{tasks} {_ABOUT}" if count else ""
    if as_json:
        print_json({"about": about, "models": [each.as_json() for each in results]})
    else:
        lines = [line for each in results for line in model_lines(each, width())]
        if len(results) > 1:
            lines += comparison_lines(results, width())
        click.echo("\n".join([*lines, *textwrap.wrap(about, width())]))
    if output is not None:
        write_file(output, page(results, about))


def _list(tasks: "Sequence[Task]", *, as_json: bool) -> None:
    from timestep.cli.check.table import list_lines
    from timestep.cli.terminal import width

    if as_json:
        print_json(
            [{"task": task.name, "title": task.title, "quick": task.quick} for task in tasks]
        )
    else:
        click.echo("\n".join(list_lines(tasks, width())))


def _configured(settings: "Settings") -> list[str]:
    """Return the models that the configuration names."""
    from timestep.cli.inventory import configured_models

    names = [entry.model for entry in configured_models(settings)]
    if not names:
        raise click.ClickException(
            "No model: name one, as in timestep check ollama/llama3.2, or set "
            "TIMESTEP_DEFAULT_MODEL (default_model in timestep.toml)."
        )
    return names


def _chosen(
    paths: Sequence[Path], names: Sequence[str], required: Sequence[str], *, quick: bool
) -> "list[Task]":
    """Return the tasks that the options choose."""
    from timestep.cli.check.task import builtin_tasks, read_task

    known = [read_task(path) for path in paths] or builtin_tasks()
    if twice := [name for name, count in Counter(t.name for t in known).items() if count > 1]:
        raise click.UsageError(f"Two tasks have the name {twice[0]}; set another name in one.")
    tasks = [task for task in known if task.quick or not quick or paths]
    every = [task.name for task in known]
    for name in (name for name in (*names, *required) if name not in every):
        hint = did_you_mean(name, every) or " 'timestep check --list' shows the tasks."
        raise click.UsageError(f"There is no task {name!r}.{hint}")
    if names:
        tasks = [task for task in known if task.name in names]
    for name in required:
        if all(task.name != name for task in tasks):
            raise click.UsageError(f"--require {name}: this task is not among the chosen ones.")
    return tasks
