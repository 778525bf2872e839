"""``timestep run``: ask one question and stream the answer."""

from typing import Any

import click

from timestep.cli.agent.options import AgentOptions, agent_options
from timestep.cli.context import Context, configuration_options
from timestep.cli.input import read_prompt


@click.command()
@click.argument("prompt", required=False)
@agent_options
@click.option(
    "--output-schema",
    metavar="FILE",
    type=click.Path(),
    help="Answer in JSON that matches the JSON schema in FILE.",
)
@click.option(
    "--image",
    "images",
    metavar="FILE",
    type=click.Path(),
    multiple=True,
    help="Show the model an image. Can be repeated.",
)
@click.option(
    "--file",
    "files",
    metavar="FILE",
    type=click.Path(),
    multiple=True,
    help="Add the text of a file to the prompt. Can be repeated.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Give up on the answer after this many seconds.",
)
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
    from timestep.cli.agent.recording import recorded
    from timestep.cli.agent.setup import prepare
    from timestep.cli.run.answer import Manner, print_answer
    from timestep.cli.run.images import data_url, user_message
    from timestep.cli.run.output_schema import read_output_schema

    question = user_message(prompt, [data_url(path) for path in images])
    output = read_output_schema(output_schema)
    setup = prepare(AgentOptions(**options), context, name="timestep run", output=output)
    how = Manner(
        "json" if as_json else "jsonl" if as_lines else "text",
        timeout=timeout,
        shows_costs=not no_stats,
        is_verbose=verbose,
    )
    with recorded(context.settings):
        print_answer(question, setup, how)
