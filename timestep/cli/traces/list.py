"""``timestep traces list``, ``search``, ``stats`` and ``tail``."""

import time
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_recorded
from timestep.cli.context import Context, pass_context
from timestep.cli.output import clean, console, print_json, print_lines
from timestep.cli.traces.format import clock, duration, json_options, short, tokens
from timestep.cli.traces.record import open_record

if TYPE_CHECKING:
    from rich.table import Table

    from timestep.traces import Span

_DAY = 86_400.0
_LOOK_SECONDS = 0.2


@click.command("list")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1))
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
@click.option("-q", "--query", metavar="TEXT", help="Only runs with a step of these words.")
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
    from timestep.traces.export import plain

    wanted = Filter(query, model, agent, tool, group, failed=errors, running=running)
    with open_record(context) as store:
        runs = store.traces(wanted, limit=limit)
    if as_json:
        print_json([plain(run) for run in runs])
    elif as_lines:
        print_lines(plain(run) for run in runs)
    elif runs:
        table = _table(
            "id", "began", "name", "agents", "models", "calls", "tools", "time", "tokens"
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
                style="red" if run.errors else None,
            )
        console().print(table)
    else:
        click.echo(f"No such run in {store.path}.", err=True)


@click.command()
@click.argument("text")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1))
@json_options
@pass_context
def search(context: Context, *, text: str, limit: int, as_json: bool, as_lines: bool) -> None:
    """Find the steps that contain all words of TEXT, newest first."""
    from timestep.traces.export import plain

    with open_record(context) as store:
        hits = store.search(text, limit=limit)
    if as_json:
        print_json([plain(hit) for hit in hits])
    elif as_lines:
        print_lines(plain(hit) for hit in hits)
    elif hits:
        table = _table("id", "ended", "step", "text")
        for hit in hits:
            step = clean(f"{hit.kind} {hit.name}")
            table.add_row(short(hit.trace_id), clock(hit.ended_at), step, clean(hit.excerpt))
        console().print(table)
    else:
        click.echo(f"Nothing with these words in {store.path}.", err=True)


@click.command()
@click.option("--days", type=click.FloatRange(0), help="Only the last DAYS days.")
@json_options
@pass_context
def stats(context: Context, *, days: float | None, as_json: bool, as_lines: bool) -> None:
    """Show calls, errors, tokens and latency of every model."""
    from timestep.traces.export import plain

    with open_record(context) as store:
        models = store.stats(since=0.0 if days is None else time.time() - days * _DAY)
    if as_json:
        print_json([plain(model) for model in models])
    elif as_lines:
        print_lines(plain(model) for model in models)
    elif models:
        table = _table(
            "model", "calls", "errors", "in", "out", "p50", "p90", "p99", "first", "tok/s"
        )
        for model in models:
            speed = model.tokens_per_second
            table.add_row(
                clean(model.model),
                str(model.calls),
                str(model.errors),
                f"{model.input_tokens:,}",
                f"{model.output_tokens:,}",
                *(duration(seconds) for seconds in (model.p50, model.p90, model.p99)),
                "" if model.first_token_seconds is None else duration(model.first_token_seconds),
                "" if speed is None else f"{speed:.1f}",
            )
        console().print(table)
    else:
        click.echo(f"No model was called, says {store.path}.", err=True)


@click.command()
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON value a line.")
@pass_context
def tail(context: Context, *, as_lines: bool) -> None:
    """Show steps as they end, until Ctrl-C."""
    from timestep.traces.export import plain

    with open_record(context) as store:
        cursor = store.cursor()
        click.echo(f"Waiting for runs in {store.path} …", err=True)
        for span in store.follow(cursor, pause=lambda: time.sleep(_LOOK_SECONDS)):
            if span.ended_at is None:
                continue
            if as_lines:
                print_lines([plain(span)])
            else:
                click.echo(_line(span))


def _line(span: "Span") -> str:
    from timestep.traces.summary import headline

    parts = [clock(span.ended_at or span.started_at), short(span.trace_id), f"{span.kind:<10}"]
    failed = click.style("failed", fg="red") if span.error else ""
    measures = [duration(span.total_seconds), tokens(span.input_tokens, span.output_tokens), failed]
    text = clean(headline(span))
    return "  ".join([*parts, text, *(measure for measure in measures if measure)])


def _table(*columns: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    right = {
        "calls",
        "tools",
        "time",
        "tokens",
        "errors",
        "in",
        "out",
        "p50",
        "p90",
        "p99",
        "first",
        "tok/s",
    }
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in {"id", "began", "ended"} | right,
        )
    return table
