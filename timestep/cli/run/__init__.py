"""``timestep run``: ask one question and stream the answer."""

from typing import Any

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.input import read_prompt
from timestep.cli.options import agent_options, file_option, timeout_option


@click.command()
@click.argument("prompt", required=False)
@agent_options
@file_option("--output-schema", help="Answer in JSON that matches the JSON schema in FILE.")
@file_option("--image", "images", multiple=True, help="Show the model an image. Can be repeated.")
@file_option(
    "--file",
    "files",
    multiple=True,
    help="Add the text of a file to the prompt. Can be repeated.",
)
@timeout_option(help="Give up on the answer after this many seconds.")
@click.option("--no-stats", is_flag=True, help="Do not print the line of tokens and seconds.")
@click.option("--verbose", is_flag=True, help="Show tracebacks, and results of tools in full.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value at the end.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print every event as a line of JSON.")
@configuration_options
def run(
    context: Context,
    *,
    prompt: str | None,
    output_schema: str | None,
    images: tuple[str, ...],
    files: tuple[str, ...],
    timeout: float | None,
    no_stats: bool,
    verbose: bool,
    as_json: bool,
    as_lines: bool,
    **options: Any,
) -> None:
    """Ask a model or an agent, and print the answer as it arrives.

    Text that is piped in is added to PROMPT, or is the prompt if that is left out or "-". The
    answer goes to standard output: as Markdown on a terminal, elsewhere as the model wrote it.
    Thinking, tool calls and everything else go to standard error.
    """
    prompt = read_prompt(prompt, files)
    if not prompt.strip():
        raise click.UsageError("The prompt is empty.")
    if as_json and as_lines:
        raise click.UsageError("Choose --json or --jsonl, not both.")
    from timestep.cli.agent.setup import prepare, recorded
    from timestep.cli.run.answer import print_answer
    from timestep.cli.run.question import data_url, read_output_schema, user_message

    question = user_message(prompt, [data_url(path) for path in images])
    output = read_output_schema(output_schema)
    setup = prepare(context, name="timestep run", output=output, **options)
    with recorded(context.settings):
        print_answer(
            question,
            setup,
            "json" if as_json else "jsonl" if as_lines else "text",
            timeout=timeout,
            shows_costs=not no_stats,
            is_verbose=verbose,
        )
