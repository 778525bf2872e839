"""``timestep traces list``: recorded runs, newest first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_recorded
from timestep.cli.context import Context, pass_context
from timestep.cli.output import clean
from timestep.cli.traces.format import (
    clock,
    duration,
    json_options,
    limit_option,
    new_table,
    print_results,
    short,
    tokens,
)
from timestep.cli.traces.record import open_record

if TYPE_CHECKING:
    from rich.table import Table

    from timestep.traces import Summary


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
@click.option("--group", metavar="ID", help="Only runs of this group.")
@click.option("--errors/--no-errors", default=None, help="Only runs with failed steps, or without.")
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
    running: bool | None,
    query: str | None,
    as_json: bool,
    as_lines: bool,
) -> None:
    """List recorded runs, newest first."""
    from timestep.traces import Filter

    wanted = Filter(query, model, agent, tool, group, failed=errors, running=running)
    with open_record(context) as store:
        runs = store.traces(wanted, limit=limit)
    print_results(
        runs,
        lambda: _table(runs),
        as_json=as_json,
        as_lines=as_lines,
        otherwise=f"There is no such run in {store.path}.",
    )


def _table(runs: "Sequence[Summary]") -> "Table":
    from timestep.traces.summary import dollars

    table = new_table(
        "id", "began", "name", "agents", "models", "calls", "tools", "time", "tokens", "cost"
    )
    for run in runs:
        table.add_row(
            short(run.trace_id),
            clock(run.started_at),
            clean(run.name),
            clean(", ".join(run.agents)),
            clean(", ".join(run.models)),
            str(run.calls),
            str(run.tools),
            duration(run.total_seconds),
            tokens(run.input_tokens, run.output_tokens),
            dollars(run.cost),
            style="red" if run.errors else None,
        )
    return table
