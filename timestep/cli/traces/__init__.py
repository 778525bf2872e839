"""``timestep traces``: see what agents did, from the record on this machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.commands import Group
from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, configuration_options, keep_option, pass_context
from timestep.cli.options import model_option
from timestep.cli.output import clean, json_option, print_json, print_lines, write_file
from timestep.cli.traces.format import DAY, clock, duration, open_record, short, tokens
from timestep.cli.traces.tables import list_runs, search, stats
from timestep.net.extras import install_hint

if TYPE_CHECKING:
    from timestep.traces import Span


@click.command()
@click.argument("run", metavar="ID", default="last", shell_complete=complete_trace)
@click.option("--raw", is_flag=True, help="Print the exact requests and answers of its models.")
@click.option("--step", type=click.IntRange(1), help="Only the model call with this number.")
@click.option("--full", is_flag=True, help="Print questions, answers and results in full.")
@click.option("--verbose", is_flag=True, help="Print the tracebacks of tools that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line.")
@pass_context
def show(
    context: Context,
    *,
    run: str,
    raw: bool,
    step: int | None,
    full: bool,
    verbose: bool,
    as_json: bool,
    as_lines: bool,
) -> None:
    """Show one run: its question, what it did as a tree, and its answer."""
    from timestep.cli.traces.runs import Shown, chosen_calls, print_raw, print_run
    from timestep.traces.export import export_lines, export_trace

    with open_record(context) as store:
        trace = store.get(run)
        if raw:
            print_raw(store, chosen_calls(trace, step))
        elif as_json:
            print_json(export_trace(trace))
        elif as_lines:
            print_lines(export_lines(trace))
        else:
            print_run(trace, Shown(full, verbose), step)


@click.command()
@click.argument("run", metavar="ID", default="last", shell_complete=complete_trace)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["json", "jsonl", "html", "otlp"]),
    default="json",
    show_default=True,
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Write to this file instead of standard output.",
)
@click.option(
    "--to",
    "url",
    metavar="URL",
    help="The OTLP/HTTP receiver for --format otlp. Default: [traces] otlp.",
)
@pass_context
def export(context: Context, *, run: str, form: str, output: Path | None, url: str | None) -> None:
    """Write one run, with the exact requests and answers of its models.

    HTML is one self-contained file. OTLP sends the run to a receiver.
    """
    if form == "otlp":
        _send(context, run, url)
        return
    from timestep.traces.export import export_lines, export_trace, view_trace
    from timestep.traces.text import json_text
    from timestep.traces.viewer.page import run_page

    with open_record(context) as store:
        trace = store.get(run)
        whole = export_trace(trace, store.body)
        if form == "json":
            text = json_text(whole, indent=2)
        elif form == "jsonl":
            lines = export_lines(trace, store.body)
            text = "\n".join(json_text(line) for line in lines)
        else:
            text = run_page(view_trace(trace), whole["bodies"])
    if output is None:
        click.echo(text)
    else:
        write_file(output, text + "\n")
        click.echo(f"Wrote {output}.", err=True)


def _send(context: Context, run: str, url: str | None) -> None:
    receiver = url or context.settings.traces.otlp
    if receiver is None:
        raise click.UsageError("Name the receiver: --to http://localhost:4318")
    try:
        from timestep.traces.otlp import send
    except ModuleNotFoundError as exc:
        raise click.ClickException(
            f"Sending runs needs the package {exc.name}. {install_hint('otel')}"
        ) from exc
    with open_record(context) as store:
        count = send([store.get(run)], receiver)
    click.echo(f"Sent {count} spans to {receiver}.", err=True)


@click.command()
@click.argument("run", metavar="ID", default="last", shell_complete=complete_trace)
@click.option(
    "--from",
    "step",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Start at model call number N.",
)
@model_option(help="Ask this model instead of the stored answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def replay(context: Context, *, run: str, step: int, model: str | None, as_json: bool) -> None:
    """Run a recorded run again, and compare.

    Without --model the stored answers are served again, offline and without any model. Tools do
    not run: they return their recorded results. Guardrails do not run either. The new run is
    recorded too. The exit code is 1 if the replay fails otherwise than the recorded run.
    """
    from timestep.cli.traces.replay import replay_run

    if not replay_run(context, run, step, model, as_json=as_json):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("left", metavar="ID", shell_complete=complete_trace)
@click.argument("right", metavar="ID", default="last", shell_complete=complete_trace)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the runs differ.")
@json_option
@pass_context
def diff(context: Context, *, left: str, right: str, exit_code: bool, as_json: bool) -> None:
    """Compare two runs, step by step. By default the second is the last run."""
    from timestep.cli.traces.runs import print_comparison
    from timestep.traces.export import view_diff
    from timestep.traces.summary import ending

    with open_record(context) as store:
        ours, theirs = store.get(left), store.get(right)
    compared = view_diff(ours, theirs)
    if as_json:
        print_json(compared)
    else:
        first, second = ending(ours), ending(theirs)
        ends = first.sentence("The first run"), second.sentence("The second run")
        print_comparison(ours, theirs, ends, is_same_end=first == second)
    if exit_code and not compared["same"]:
        raise click.exceptions.Exit(1)


@click.command()
@pass_context
def verify(context: Context) -> None:
    """Check that the record is sound; the exit code is 1 if it is not."""
    with open_record(context) as store:
        problems = store.verify()
        for problem in problems:
            click.echo(problem)
        if problems:
            raise click.ClickException(f"{store.path} is not sound.")
        click.echo(f"{store.path} is sound.")


@click.command()
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(0),
    help="Delete runs that began more than DAYS days ago. Default: [traces] retention.",
)
@click.option("--all", "everything", is_flag=True, help="Delete all runs.")
@pass_context
def prune(context: Context, *, older_than: float | None, everything: bool) -> None:
    """Delete old runs, with all that was recorded of them."""
    days = 0.0 if everything else older_than
    if days is None:
        days = context.settings.traces.retention
        if not days:
            raise click.UsageError(
                "The configuration keeps all runs: write --older-than DAYS or --all."
            )
    with open_record(context) as store:
        count = store.prune(before=time.time() - days * DAY)
    click.echo(f"Deleted {count} {'run' if count == 1 else 'runs'}.")


@click.command()
@click.option(
    "-p",
    "--port",
    default=5318,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port on 127.0.0.1; 0 for any free one.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open a browser too.")
@pass_context
def serve(context: Context, *, port: int, is_opened: bool) -> None:
    """Show runs in a browser: a list with search, live updates, conversations, comparisons.

    Only this machine can open the page. Ctrl-C ends it.
    """
    try:
        from timestep.traces.viewer.app import serve as run_server
    except ModuleNotFoundError as exc:
        raise click.ClickException(
            f"The viewer needs the package {exc.name}. {install_hint('web')}"
        ) from exc

    def tell(url: str) -> None:
        click.echo(f"Runs are shown at {url} until Ctrl-C.")
        if is_opened:
            click.launch(url)

    with open_record(context) as store:
        try:
            run_server(store, port, on_start=tell)
        except OSError as exc:
            raise click.ClickException(
                f"Port {port} cannot be used: {exc.strerror}. Name another with --port."
            ) from exc


_SECONDS_BETWEEN_LOOKS = 0.2


@click.command()
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line.")
@pass_context
def tail(context: Context, *, as_lines: bool) -> None:
    """Show steps as they end, until Ctrl-C."""
    from timestep.traces.export import plain

    with open_record(context) as store:
        cursor = store.cursor()
        click.echo(f"Waiting for runs in {store.path} …", err=True)
        for span in store.follow(cursor, pause=lambda: time.sleep(_SECONDS_BETWEEN_LOOKS)):
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


@click.group(cls=Group)
@click.option(
    "--file",
    "trace_file",
    expose_value=False,
    callback=keep_option,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read this record instead of the configured one.",
)
@configuration_options
def traces(context: Context) -> None:
    """See what agents did.

    An ID can be shortened to its beginning. "last" is the last run, "last-1" the one before it.
    """


for command in (list_runs, show, tail, search, stats, export, replay, diff, serve, prune, verify):
    traces.add_command(command)
