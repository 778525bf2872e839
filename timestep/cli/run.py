"""``timestep run``: one question, one streamed answer."""

import click

from timestep.cli.completion import complete_model
from timestep.cli.configuration import configuration_options, configure
from timestep.cli.prompt import read_prompt


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "-m",
    "--model",
    shell_complete=complete_model,
    metavar="NAME",
    help="The model or alias; default_model when left out.",
)
@click.option("-i", "--instructions", metavar="TEXT", help="What the agent is told to be.")
@configuration_options
def run(
    *,
    prompt: str | None,
    model: str | None,
    instructions: str | None,
    config_file: str | None,
    env_file: str,
) -> None:
    """Ask a configured model, and print its answer as it arrives.

    PROMPT is read from standard input when it is left out. The answer goes to standard output,
    the model's thinking and everything else to standard error.
    """
    if prompt is None:
        prompt = read_prompt()
    if not prompt.strip():
        raise click.UsageError("The prompt is empty.")
    from timestep.cli.answer import print_answer
    from timestep.cli.recording import recorded

    settings, provider = configure(config_file=config_file, env_file=env_file)
    if model is None and settings.default_model is None:
        raise click.ClickException(
            "No model: name one with --model, as in --model ollama/llama3.2, or set "
            "TIMESTEP_DEFAULT_MODEL (default_model in timestep.toml)."
        )
    with recorded(settings):
        print_answer(prompt, provider, model=model, instructions=instructions)
