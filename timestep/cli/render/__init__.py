"""``timestep render``: show the prompt that a model would read."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.input import read_prompt
from timestep.cli.options import agent_option, instructions_option, model_option
from timestep.cli.output import json_option, print_aside, print_json
from timestep.cli.terminal import write_answer

if TYPE_CHECKING:
    from timestep.ollama.render import RenderedPrompt


@click.command()
@click.argument("prompt", metavar="[INPUT]", required=False)
@agent_option(help="The agent: file.py, file.py:attribute or module:attribute.")
@model_option(help="The model or alias to use instead of the agent's own.")
@instructions_option(help="The instructions to use instead of the agent's own.")
@json_option
@configuration_options
def render(
    context: Context,
    *,
    prompt: str | None,
    reference: str | None,
    model: str | None,
    instructions: str | None,
    as_json: bool,
) -> None:
    """Show the exact prompt that an Ollama model would read, without running it.

    If INPUT is left out or "-", it is read from standard input. The prompt goes to standard
    output. What the server cut, and which tools are in the prompt, goes to standard error.
    """
    prompt = read_prompt(prompt)
    found = None
    if reference is None:  # then there may be no need to import the SDK
        from timestep.cli.render.plain import render_plain

        found = render_plain(context, prompt, model, instructions)
    if found is None:
        from timestep.cli.render.prompt import render_prompt

        found = render_prompt(context, prompt, reference, model, instructions)
    name, rendered = found
    if as_json:
        print_json({"model": name, **asdict(rendered)})
        return
    write_answer(rendered.text if rendered.text.endswith("\n") else f"{rendered.text}\n")
    _tell(rendered)


def _tell(rendered: "RenderedPrompt") -> None:
    if rendered.is_refused:
        print_aside(
            "The server would REFUSE this prompt: it is longer than the context window. Raise num_ctx, "
            "shorten it, or set on_context_overflow to 'truncate'."
        )
    if rendered.tools:
        print_aside(f"Tools in the prompt: {', '.join(rendered.tools)}")
    if rendered.missing_tools:
        print_aside(
            f"Tools that are NOT in it: {', '.join(rendered.missing_tools)}. The model's template "
            "may not support tools; 'timestep models' lists models that do."
        )
    if rendered.image_count:
        print_aside(f"Images beside it: {rendered.image_count}")
    for message in rendered.cut:
        place = (
            "To be cut to fit"
            if rendered.is_refused
            else "NOT in it (cut to fit, or left out by the template)"
        )
        print_aside(f"{place}: {message}")
