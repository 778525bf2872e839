"""``timestep traces list``: list recorded runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from timestep.cli.completion import complete_recorded
from timestep.cli.context import Context, pass_context
from timestep.cli.figures import ago, brief_cost, brief_count, brief_duration
from timestep.cli.options import model_option
from timestep.cli.traces.record import open_record, short
from timestep.cli.traces.table import Column, json_options, limit_option, print_results
from timestep.traces.records import OUTCOMES

if TYPE_CHECKING:
    from timestep.traces import Summary

_ID = 6
"""How many characters of an id a list shows."""


@click.command("list")
@limit_option
@model_option(shell_complete=complete_recorded, help="Only runs that called this model.")
@click.option(
    "--agent", metavar="NAME", shell_complete=complete_recorded, help="Only runs of this agent."
)
@click.option(
    "--tool",
    metavar="NAME",
    shell_complete=complete_recorded,
    help="Only runs that called this tool.",
)
@click.option("--group", metavar="ID", help="Only runs of this session or group.")
@click.option(
    "--errors/--no-errors",
    "failed",
    default=None,
    help="Only runs with failed steps, or without.",
)
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs with this outcome.")
@click.option("--running", is_flag=True, default=None, help="Only runs that have not ended.")
@click.option(
    "-q", "--query", "text", metavar="TEXT", help="Only runs with a step that contains these words."
)
@json_options
@pass_context
def list_runs(
    context: Context, /, *, limit: int, as_json: bool, as_lines: bool, **wanted: Any
) -> None:
    """List recorded runs, newest first, with the runs of a session together."""
    from timestep.traces import Filter

    with open_record(context) as store:
        runs = store.traces(Filter(**wanted), limit=limit)
    is_filtered = any(value is not None for value in wanted.values())
    nothing = "There is no such run in {}." if is_filtered else "No run is recorded in {} yet."
    print_results(
        runs if as_json or as_lines else _by_session(runs),
        _RUN_COLUMNS,
        as_json=as_json,
        as_lines=as_lines,
        otherwise=nothing.format(store.path),
    )


_RUN_COLUMNS = (
    Column("id", lambda run: short(run.trace_id)[:_ID]),
    Column("ago", lambda run: ago(run.started_at), is_figure=True, spare=1),
    Column("question", lambda run: run.title, least=10),
    Column("session", lambda run: run.group_id or "", least=7, spare=5),
    Column("agent", lambda run: _first(run.agents), least=5, spare=4),
    Column("model", lambda run: _first(run.models), least=14, spare=2),
    Column("outcome", lambda run: run.outcome),
    Column("time", lambda run: brief_duration(run.total_seconds), is_figure=True, spare=3),
    Column(
        "tokens",
        lambda run: brief_count(run.input_tokens + run.output_tokens),
        is_figure=True,
        spare=6,
    ),
    Column("cost", lambda run: brief_cost(run.cost), is_figure=True, spare=7),
)


def _by_session(runs: "Sequence[Summary]") -> "list[Summary]":
    """Return *runs* with the runs of a session together, at the place of the newest."""
    sessions: dict[str, list[Summary]] = {}
    for run in runs:
        sessions.setdefault(run.group_id or run.trace_id, []).append(run)
    return [run for session in sessions.values() for run in session]


def _first(names: Sequence[str]) -> str:
    """Return the first of *names*, and how many more there are."""
    head, *others = names or ("",)
    return f"{head} +{len(others)}" if others else head
