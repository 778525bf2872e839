"""``timestep traces export``: write one run to a file, or send it to a receiver."""

from pathlib import Path

import click

from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.output import write_file
from timestep.cli.traces.record import open_record
from timestep.net.extras import install_hint


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
