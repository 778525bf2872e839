"""``timestep batch``: many prompts from a file, answers into a file."""

import gc
import sys
from collections import defaultdict
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from itertools import islice
from pathlib import Path

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.event_loop import impatient_runner
from timestep.cli.options import agent_option, file_option, instructions_option, model_option
from timestep.cli.output import json_option, print_json, progress_bar


def _check_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse a file: ``--ray`` without a value takes the argument after it."""
    if value and value not in {"auto", "local"} and ":" not in value:
        raise click.BadParameter(f"{value!r} is not HOST:PORT; write --ray after IN and OUT")
    return value


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@model_option(help="The model or alias for lines that name none.")
@instructions_option(help="The system message of short lines.")
@file_option(
    "--output-schema", help="Short lines are answered in JSON that matches the JSON schema in FILE."
)
@agent_option(metavar="MODULE:ATTRIBUTE", help="Run this agent, with its tools, for every line.")
@click.option(
    "--column",
    default="prompt",
    show_default=True,
    metavar="NAME",
    help="The CSV column, or the key of a short line, that holds the prompt.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 10_000),
    show_default="what the servers take, or 16 for each",
    help="How many lines to ask at once.",
)
@click.option(
    "--rate",
    "rates",
    metavar="[PREFIX=]N",
    multiple=True,
    help="At most N requests a minute, for one prefix or for each; may be repeated.",
)
@click.option(
    "--token-rate",
    "token_rates",
    metavar="[PREFIX=]N",
    multiple=True,
    help="At most N tokens a minute, for one prefix or for each; may be repeated.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How often to try again after a temporary failure.",
)
@click.option(
    "--retry-errors", is_flag=True, help="Ask the lines that failed in an earlier run again."
)
@click.option(
    "--max-errors", type=click.IntRange(1), metavar="N", help="Stop after N failed lines."
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000_000), metavar="N", help="Ask at most N lines."
)
@click.option(
    "--ray",
    "cluster",
    is_flag=False,
    flag_value="",
    metavar="[ADDRESS]",
    callback=_check_address,
    help="Share the work with a Ray cluster: this one, or a new one on this machine.",
)
@json_option
@configuration_options
def batch(
    context: Context,
    *,
    source: Path,
    target: Path,
    model: str | None,
    instructions: str | None,
    output_schema: str | None,
    reference: str | None,
    column: str,
    rates: tuple[str, ...],
    token_rates: tuple[str, ...],
    concurrency: int | None,
    retries: int,
    retry_errors: bool,
    max_errors: int | None,
    limit: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Ask every line of IN, and write the answers to OUT.

    IN holds OpenAI's batch lines, or short lines such as {"id": "a", "prompt": "Hi"}, or is a CSV
    file with a header; "-" is standard input. OUT gets OpenAI's output lines as the answers come,
    and failures go to a file beside it that ends in .errors.jsonl. Run the same command again, and
    it continues where it stopped.
    """
    from timestep.batch import Defaults, Output
    from timestep.batch.concurrency import concurrency_for, prefix_of
    from timestep.cli.batch.asking import Prepare, Summary, ask, explained, write
    from timestep.cli.batch.source import Source, read_rates, readable, refuse_unused
    from timestep.cli.run.question import read_output_schema

    limits = read_rates(rates, token_rates)
    prepare = Prepare(replace(context), reference, Path.cwd())
    if model is None and reference is None and isinstance(context.settings.default_model, str):
        model = context.settings.default_model  # named in the rows, and compared on resume
    defaults = Defaults(model, instructions, read_output_schema(output_schema), column, reference)
    with explained(), readable(source) as path:
        lines = Source(path, defaults)
        if str(target) == "-":
            raise click.UsageError("OUT cannot be standard output, because the next run reads it.")
        if target.exists() and target.samefile(path):
            raise click.UsageError(f"{target} is IN and OUT. Choose another file for the output.")
        asked = prepare.names(lines.models)
        prefixes = defaultdict(
            str, {name: prefix_of(model, context.settings) for name, model in asked.items()}
        )
        refuse_unused(limits, set(prefixes.values()))
        with Output(target, retry_errors=retry_errors) as output:
            lines.refuse_changed(output)
            is_alone = reference is None
            summary = Summary(
                len(lines),
                output.done_before,
                output.failed_before,
                context.settings if is_alone else None,
            )
            results = ask(
                islice((line for line in lines if not output.has(line)), limit),
                lines.models,
                prepare,
                cluster,
                concurrency=concurrency or concurrency_for(asked.values(), context.settings),
                retries=retries,
                rates=limits,
                prefix_of=prefixes.__getitem__,
            )
            gc.freeze()  # the objects of all imported packages, which outlive the batch
            try:
                with (
                    # What Ray prints about its workers stays out of standard output.
                    nullcontext() if cluster is None else redirect_stdout(sys.stderr),
                    impatient_runner() as loop,
                    progress_bar(len(lines) - output.done_before - output.failed_before) as advance,
                ):
                    loop.run(write(results, output, summary, advance, max_errors))
            finally:
                gc.unfreeze()
                if as_json:
                    print_json(summary.as_json())
                else:
                    click.echo(str(summary), err=True)
    if lines.has_changed:
        raise click.ClickException(
            f"{source} was changed while it was read. All answers so far are in {target}. The same "
            "command asks the other lines."
        )
    if summary.failed or summary.failed_before:
        raise click.exceptions.Exit(1)
