"""``timestep traces list``: recorded runs, newest first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_recorded
from timestep.cli.context import Context, pass_context
from timestep.cli.traces.format import (
    Column,
    ago,
    brief_cost,
    brief_count,
    brief_duration,
    json_options,
    limit_option,
    new_table,
    open_record,
    print_results,
    short,
)
from timestep.traces.records import OUTCOMES

if TYPE_CHECKING:
    from rich.table import Table

    from timestep.traces import Summary

_ID = 6
"""How many characters of an id a list shows."""


@click.command("list")
@limit_option
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=complete_recorded,
    help="Only runs that called this model.",
)
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
@click.option("--errors/--no-errors", default=None, help="Only runs with failed steps, or without.")
@click.option("--outcome", type=click.Choice(OUTCOMES), help="Only runs with this outcome.")
@click.option("--running", is_flag=True, default=None, help="Only runs that have not ended.")
@click.option(
    "-q", "--query", metavar="TEXT", help="Only runs with a step that contains these words."
)
@json_options
@pass_context
def list_runs(
    context: Context,
    *,
    limit: int,
    model: str | None,
    agent: str | None,
    tool: str | None,
    group: str | None,
    errors: bool | None,
    outcome: str | None,
    running: bool | None,
    query: str | None,
    as_json: bool,
    as_lines: bool,
) -> None:
    """List recorded runs, newest first, with the runs of a session together."""
    from timestep.traces import Filter

    wanted = Filter(
        query, model, agent, tool, group, failed=errors, outcome=outcome, running=running
    )
    with open_record(context) as store:
        runs = store.traces(wanted, limit=limit)
    print_results(
        runs,
        lambda: _table(runs),
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"There is no such run in {store.path}."
        if wanted != Filter()
        else f"No run is recorded in {store.path} yet.",
    )


_COLUMNS = (
    Column("id"),
    Column("ago", is_figure=True, spare=1),
    Column("question", least=10),
    Column("session", least=7, spare=5),
    Column("agent", least=5, spare=4),
    Column("model", least=14, spare=2),
    Column("outcome"),
    Column("time", is_figure=True, spare=3),
    Column("tokens", is_figure=True, spare=6),
    Column("cost", is_figure=True, spare=7),
)


def _table(runs: "Sequence[Summary]") -> "Table":
    runs = by_session(runs)
    return new_table(
        _COLUMNS,
        [
            (
                short(run.trace_id)[:_ID],
                ago(run.started_at),
                run.title,
                run.group_id or "",
                _first(run.agents),
                _first(run.models),
                run.outcome,
                brief_duration(run.total_seconds),
                brief_count(run.input_tokens + run.output_tokens),
                brief_cost(run.cost),
            )
            for run in runs
        ],
        is_red=[run.outcome == "failed" for run in runs],
    )


def by_session(runs: "Sequence[Summary]") -> "list[Summary]":
    """Return *runs* with the runs of a session together, at the place of the newest."""
    sessions: dict[str, list[Summary]] = {}
    for run in runs:
        sessions.setdefault(run.group_id or run.trace_id, []).append(run)
    return [run for session in sessions.values() for run in session]


def _first(names: "Sequence[str]") -> str:
    """Return the first of *names*, and how many more there are."""
    head, *others = names or ("",)
    return f"{head} +{len(others)}" if others else head
