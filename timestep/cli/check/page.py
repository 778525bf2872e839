"""The results as one HTML page that needs no other file. Pure.

Whatever models and servers wrote is escaped, and the page may load and run nothing.
"""

from collections.abc import Iterable, Sequence
from html import escape

from timestep.cli.check.results import ModelResult, TaskResult, ranked
from timestep.cli.check.table import facts, how_to_open, model_figures, task_figures

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
_MODEL_HEAD = ("model", "tasks", "tries", "tok/s", "first token", "load", "tokens/task")
_TASK_HEAD = ("task", "passed", "tokens", "first token", "tok/s")


def page(results: Sequence[ModelResult], about: str) -> str:
    """Return the page about *results*; *about* says what they are worth."""
    best = ranked(results)
    return _PAGE.format(
        about=escape(about),
        models=_table(_MODEL_HEAD, map(_model_row, best)),
        details="\n".join(map(_section, best)),
    )


def _model_row(result: ModelResult) -> str:
    if result.problem:
        return (
            f"<tr><td>{escape(result.model)}</td>"
            f'<td class="error" colspan="{len(_MODEL_HEAD) - 1}">{escape(result.problem)}</td></tr>'
        )
    return f"<tr><td>{escape(result.model)}</td>{_figures(model_figures(result))}</tr>"


def _section(result: ModelResult) -> str:
    if result.problem:
        return ""
    known = "".join(
        f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in facts(result)
    )
    rows = map(_task_row, result.tasks)
    return f"<h2>{escape(result.model)}</h2>\n<dl>{known}</dl>\n{_table(_TASK_HEAD, rows)}"


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
