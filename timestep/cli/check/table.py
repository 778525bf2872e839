"""The results for people: as text within a given width, and as one HTML page. Pure."""

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import Any, TypeAlias

from timestep.cli.check.results import ModelResult, TaskResult, ranked
from timestep.cli.check.task import Task
from timestep.cli.figures import duration, known
from timestep.cli.output import clean
from timestep.cli.traces.record import short

_NAMES = 28
_NUMBER = 3
_SCORE = 6
_LEAST_WIDTH = 40


_Figures: TypeAlias = Sequence[tuple[str, int, Callable[[Any], str]]]
_COUNT, _SPEED = "{:,}".format, "{:,.1f}".format
_OF_TASK: _Figures = (
    ("passed", 8, lambda task: task.score),
    ("tokens", 9, lambda task: known(_COUNT, task.tokens, "-")),
    ("first token", 13, lambda task: known(duration, task.first_token_seconds, "-")),
    ("tok/s", 8, lambda task: known(_SPEED, task.tokens_per_second, "-")),
)
"""The columns of a task: the heading, the width as text, and the cell."""
_OF_MODEL: _Figures = (
    ("tasks", 6, lambda model: f"{model.passed}/{len(model.tried)}"),
    ("tries", 8, lambda model: f"{model.tries('passed')}/{model.tries()}"),
    ("tok/s", 9, lambda model: known(_SPEED, model.tokens_per_second, "-")),
    ("first token", 13, lambda model: known(duration, model.first_token_seconds, "-")),
    ("load", 12, lambda model: known(duration, model.load_seconds, "-")),
    ("tokens/task", 13, lambda model: known(_COUNT, model.tokens, "-")),
)


def model_lines(result: ModelResult, width: int) -> list[str]:
    """Return everything about one model: what it claims and shows, and a row for each task."""
    lines = [clean(result.model)]
    if result.leads_to and result.leads_to != [result.model]:
        lines += _wrapped(f"leads to {', then '.join(result.leads_to)}", 2, width)
    if result.problem:
        return [*lines, *_wrapped(f"cannot be tried: {result.problem}", 2, width), ""]
    for label, text in _facts(result):
        lines += _wrapped(text, 12, width, label=f"  {label}")
    lines.append(f"  {'task':<{_NAMES}}{_head(_OF_TASK)}")
    for task in result.tasks:
        lines.append(f"  {_task_name(task):<{_NAMES}}{_cells(_OF_TASK, task)}")
        for kind, text in _remarks(task):
            lines += [f"    {text}"] if kind == "command" else _wrapped(text, 4, width)
    return [*lines, ""]


def comparison_lines(results: Sequence[ModelResult], width: int) -> list[str]:
    """Return all models in one table, the best first, and their tasks side by side."""
    best = list(enumerate(ranked(results), 1))
    lines = [f"{'':{_NUMBER}}{_head(_OF_MODEL)}  model"]
    for number, result in best:
        head = f"{number:<{_NUMBER}}{_cells(_OF_MODEL, None if result.problem else result)}  "
        name, *more = textwrap.wrap(clean(result.model), max(width - len(head), 12)) or [""]
        lines += [head + name, *(" " * len(head) + part for part in more)]
        lines += _wrapped(result.problem, _NUMBER, width)
    tried = [(number, result) for number, result in best if not result.problem]
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


def _facts(result: ModelResult) -> Iterator[tuple[str, str]]:
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


def _remarks(task: TaskResult) -> Iterator[tuple[str, str]]:
    """Yield what is said below a task: its kind, and the words."""
    if task.skipped:
        yield "aside", f"left out: {task.skipped}"
    elif (problem := task.first_problem) is not None:
        yield problem.verdict, f"{problem.verdict}: {problem.reason}"
        if problem.trace_id is not None:
            yield "command", f"timestep traces show {short(problem.trace_id)}"


def _side_by_side(results: Sequence[tuple[int, ModelResult]]) -> list[str]:
    scores = [{_task_name(task): task.score for task in result.tasks} for _, result in results]
    lines = [f"{'task':<{_NAMES}}" + "".join(f"{number:>{_SCORE}}" for number, _ in results)]
    for name in dict.fromkeys(name for each in scores for name in each):
        cells = "".join(f"{each.get(name, ''):>{_SCORE}}" for each in scores)
        lines.append(f"{name:<{_NAMES}}{cells}")
    return lines


def _task_name(task: TaskResult) -> str:
    name = clean(task.name)
    return name if len(name) <= _NAMES else f"{name[: _NAMES - 1]}…"


def _head(figures: _Figures) -> str:
    return "".join(f"{heading:>{width}}" for heading, width, _ in figures)


def _cells(figures: _Figures, result: ModelResult | TaskResult | None) -> str:
    return "".join(f"{cell(result) if result else '-':>{width}}" for _, width, cell in figures)


def _wrapped(text: str, indent: int, width: int, *, label: str = "") -> list[str]:
    """Return *text* in lines below each other, the first one after *label*."""
    return textwrap.wrap(
        clean(text),
        max(width, _LEAST_WIDTH),
        initial_indent=f"{label:<{indent}}",
        subsequent_indent=" " * indent,
    )


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
.aside, .command {{ opacity: .75; }} .command {{ font-family: monospace; }}
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


def page(results: Sequence[ModelResult], about: str) -> str:
    """Return the page about *results*; *about* says what they are worth."""
    best = ranked(results)
    return _PAGE.format(
        about=escape(about),
        models=_table("model", _OF_MODEL, map(_model_row, best)),
        details="\n".join(_section(each) for each in best if not each.problem),
    )


def _model_row(result: ModelResult) -> str:
    name = f"<td>{escape(result.model)}</td>"
    if result.problem:
        span = f'colspan="{len(_OF_MODEL)}"'
        return f'<tr>{name}<td class="error" {span}>{escape(result.problem)}</td></tr>'
    return f"<tr>{name}{_html_cells(_OF_MODEL, result)}</tr>"


def _section(result: ModelResult) -> str:
    known = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in _facts(result)
    )
    tasks = _table("task", _OF_TASK, map(_task_row, result.tasks))
    return f"<h2>{escape(result.model)}</h2>\n<dl>{known}</dl>\n{tasks}"


def _task_row(task: TaskResult) -> str:
    remarks = "".join(
        f'<br><span class="{kind}">{escape(text)}</span>' for kind, text in _remarks(task)
    )
    return f"<tr><td>{escape(task.name)}{remarks}</td>{_html_cells(_OF_TASK, task)}</tr>"


def _html_cells(figures: _Figures, result: ModelResult | TaskResult) -> str:
    return "".join(f'<td class="figure">{escape(cell(result))}</td>' for _, _, cell in figures)


def _table(first: str, figures: _Figures, rows: Iterable[str]) -> str:
    others = "".join(f'<th class="figure">{heading}</th>' for heading, _, _ in figures)
    body = "\n".join(rows)
    return (
        f"<table>\n<thead><tr><th>{first}</th>{others}</tr></thead>\n<tbody>\n{body}\n"
        "</tbody></table>"
    )
