"""The results for people: as text within a given width, and as one HTML page. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from timestep.cli.check.results import ModelResult, TaskResult, ranked
from timestep.cli.check.task import Task
from timestep.cli.output import clean
from timestep.cli.traces.format import duration, short

_NAMES = 28
_FIGURES = (8, 9, 13, 8)
_TASK_HEAD = ("passed", "tokens", "first token", "tok/s")
_MODELS = (6, 8, 9, 13, 12, 13)
_MODEL_HEAD = ("tasks", "tries", "tok/s", "first token", "load", "tokens/task")
_NUMBER = 3
_SCORE = 6
_LEAST_WIDTH = 40


def model_lines(result: ModelResult, width: int) -> list[str]:
    """Return everything about one model: what it claims and shows, and a row for each task."""
    lines = [clean(result.model)]
    if result.leads_to and result.leads_to != [result.model]:
        lines += _wrapped(f"leads to {', then '.join(result.leads_to)}", 2, width)
    if result.problem:
        return [*lines, *_wrapped(f"cannot be tried: {result.problem}", 2, width), ""]
    for label, text in facts(result):
        lines += _wrapped(text, 12, width, label=f"  {label}")
    lines.append(f"  {'task':<{_NAMES}}{_cells(_TASK_HEAD, _FIGURES)}")
    for task in result.tasks:
        lines += _task_lines(task, width)
    return [*lines, ""]


def comparison_lines(results: Sequence[ModelResult], width: int) -> list[str]:
    """Return all models in one table, the best first, and their tasks side by side."""
    best = ranked(results)
    lines = [f"{'':{_NUMBER}}{_cells(_MODEL_HEAD, _MODELS)}  model"]
    for number, result in enumerate(best, 1):
        lines += _model_row(number, result, width)
    tried = [(number, result) for number, result in enumerate(best, 1) if not result.problem]
    room = max(1, (width - _NAMES) // _SCORE)
    for start in range(0, len(tried), room):
        lines += ["", *_side_by_side(tried[start : start + room])]
    return [*lines, ""]


def list_lines(tasks: Sequence[Task], width: int) -> list[str]:
    """Return the name and the title of each task."""
    lines: list[str] = []
    for task in tasks:
        title = f"{task.title}{' (quick)' if task.quick else ''}"
        lines += _wrapped(title, _NAMES + 2, width, label=clean(task.name))
    return lines


def facts(result: ModelResult) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each fact about a model, besides its tasks."""
    claimed = "unknown" if result.claimed is None else ", ".join(result.claimed) or "nothing"
    yield "claimed", claimed
    yield "seen", ", ".join(result.seen) or "nothing"
    windows = (
        (result.window_configured, "configured"),
        (result.window_real, "real"),
        (result.context_length, "at most"),
    )
    known = [f"{tokens:,} {what}" for tokens, what in windows if tokens is not None]
    yield "window", f"{', '.join(known)} (tokens)" if known else "unknown"
    if result.load_seconds is not None:
        yield "load", duration(result.load_seconds)
    if result.tokens is not None:
        yield "tokens", f"{result.tokens:,} for a task, on average"
    lacks = {"seed": result.has_seed, "temperature": result.is_greedy}
    if missing := " and no ".join(name for name, is_taken in lacks.items() if not is_taken):
        yield "note", f"the server takes no {missing}, so that two checks may differ"


def how_to_open(task: TaskResult) -> str:
    """Return the command that shows the first try that did not pass; empty without one."""
    problem = task.first_problem
    if problem is None or problem.trace_id is None:
        return ""
    return f"timestep traces show {short(problem.trace_id)}"


def task_figures(task: TaskResult) -> tuple[str, str, str, str]:
    """Return the columns of a task."""
    return (
        task.score,
        _number(task.tokens),
        _time(task.first_token_seconds),
        _speed(task.tokens_per_second),
    )


def model_figures(result: ModelResult) -> tuple[str, ...]:
    """Return the columns of a model."""
    return (
        f"{result.passed}/{len(result.tried)}",
        f"{result.tries('passed')}/{result.tries()}",
        _speed(result.tokens_per_second),
        _time(result.first_token_seconds),
        _time(result.load_seconds),
        _number(result.tokens),
    )


def _task_lines(task: TaskResult, width: int) -> list[str]:
    figures = _cells(task_figures(task), _FIGURES)
    lines = [f"  {_task_name(task):<{_NAMES}}{figures}"]
    if task.skipped:
        return [*lines, *_wrapped(f"left out: {task.skipped}", 4, width)]
    problem = task.first_problem
    if problem is None:
        return lines
    label = "error" if problem.verdict == "error" else "failed"
    lines += _wrapped(f"{label}: {problem.reason}", 4, width)
    command = how_to_open(task)
    return [*lines, f"    {command}"] if command else lines


def _model_row(number: int, result: ModelResult, width: int) -> list[str]:
    figures = ("-",) * len(_MODELS) if result.problem else model_figures(result)
    head = f"{number:<{_NUMBER}}{_cells(figures, _MODELS)}  "
    name, *more = textwrap.wrap(clean(result.model), max(width - len(head), 12)) or [""]
    lines = [head + name, *(" " * len(head) + part for part in more)]
    if result.problem:
        lines += _wrapped(result.problem, _NUMBER, width)
    return lines


def _side_by_side(results: Sequence[tuple[int, ModelResult]]) -> list[str]:
    names = list(dict.fromkeys(_task_name(task) for _, result in results for task in result.tasks))
    lines = [f"{'task':<{_NAMES}}" + "".join(f"{number:>{_SCORE}}" for number, _ in results)]
    for name in names:
        scores = [_score(result, name) for _, result in results]
        lines.append(f"{name:<{_NAMES}}" + "".join(f"{each:>{_SCORE}}" for each in scores))
    return lines


def _score(result: ModelResult, name: str) -> str:
    return next((task.score for task in result.tasks if _task_name(task) == name), "")


def _task_name(task: TaskResult) -> str:
    name = clean(task.name)
    return name if len(name) <= _NAMES else f"{name[: _NAMES - 1]}…"


def _cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _wrapped(text: str, indent: int, width: int, *, label: str = "") -> list[str]:
    """Return *text* in lines below each other, the first one after *label*."""
    return textwrap.wrap(
        clean(text),
        max(width, _LEAST_WIDTH),
        initial_indent=f"{label:<{indent}}",
        subsequent_indent=" " * indent,
    )


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _speed(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>timestep check</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin: 1rem 0; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8886; vertical-align: top; }}
td.figure, th.figure {{ text-align: right; white-space: nowrap; }}
.passed {{ color: #17803d; }} .failed {{ color: #c22; }} .error {{ color: #a60; }}
.aside {{ opacity: .75; }}
p, td {{ overflow-wrap: anywhere; }} td:first-child {{ min-width: 14rem; }}
dt {{ font-weight: 600; float: left; width: 7rem; }} dd {{ margin-left: 7rem; }}
</style>
</head>
<body>
<h1>timestep check</h1>
<p>{about}</p>
{models}
{details}
</body>
</html>
"""
_PAGE_MODELS = ("model", *_MODEL_HEAD)
_PAGE_TASKS = ("task", *_TASK_HEAD)


def page(results: Sequence[ModelResult], about: str) -> str:
    """Return the page about *results*; *about* says what they are worth."""
    best = ranked(results)
    return _PAGE.format(
        about=escape(about),
        models=_table(_PAGE_MODELS, map(_page_row, best)),
        details="\n".join(map(_section, best)),
    )


def _page_row(result: ModelResult) -> str:
    if result.problem:
        return (
            f"<tr><td>{escape(result.model)}</td>"
            f'<td class="error" colspan="{len(_PAGE_MODELS) - 1}">{escape(result.problem)}</td></tr>'
        )
    return f"<tr><td>{escape(result.model)}</td>{_figures(model_figures(result))}</tr>"


def _section(result: ModelResult) -> str:
    if result.problem:
        return ""
    known = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in facts(result)
    )
    rows = map(_task_row, result.tasks)
    return f"<h2>{escape(result.model)}</h2>\n<dl>{known}</dl>\n{_table(_PAGE_TASKS, rows)}"


def _task_row(task: TaskResult) -> str:
    return f"<tr><td>{escape(task.name)}{_remarks(task)}</td>{_figures(task_figures(task))}</tr>"


def _remarks(task: TaskResult) -> str:
    if task.skipped:
        return f'<br><span class="aside">left out: {escape(task.skipped)}</span>'
    problem = task.first_problem
    if problem is None:
        return ""
    command = how_to_open(task)
    opened = f'<br><code class="aside">{escape(command)}</code>' if command else ""
    return f'<br><span class="{problem.verdict}">{escape(problem.reason)}</span>{opened}'


def _figures(figures: Iterable[str]) -> str:
    return "".join(f'<td class="figure">{escape(figure)}</td>' for figure in figures)


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    first, *others = head
    names = f"<th>{first}</th>" + "".join(f'<th class="figure">{name}</th>' for name in others)
    return (
        f"<table>\n<thead><tr>{names}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table>"
    )
