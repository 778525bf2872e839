"""``timestep chat``: talk to an agent in the terminal."""

from typing import Any

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.options import agent_options


@click.command()
@agent_options
@click.option("--approve", is_flag=True, help="Ask before every tool call.")
@click.option("--no-stats", is_flag=True, help="Do not print the line of tokens and seconds.")
@click.option("--verbose", is_flag=True, help="Show tracebacks, and results of tools in full.")
@configuration_options
def chat(context: Context, *, approve: bool, no_stats: bool, verbose: bool, **options: Any) -> None:
    r"""Talk to a model or an agent.

    A line is a message. A \ at its end continues it on the next line, and three double quotes
    begin and end a message of several lines. /help shows the commands. Ctrl-C stops an answer,
    Ctrl-D leaves. When the input is piped in, every line is a message too.
    """
    from timestep.cli.agent.setup import prepare, recorded
    from timestep.cli.chat.loop import chat_until_end

    setup = prepare(context, name="timestep chat", **options)
    with recorded(context.settings):
        chat_until_end(setup, approves=approve, shows_costs=not no_stats, is_verbose=verbose)
