"""``timestep chat``: a conversation in the terminal."""

from typing import Any

import click

from timestep.cli.agent.options import AgentOptions, agent_options
from timestep.cli.context import Context, configuration_options


@click.command()
@agent_options
@click.option("--approve", is_flag=True, help="Ask before every tool call.")
@configuration_options
def chat(context: Context, *, approve: bool, **options: Any) -> None:
    r"""Talk to a configured model or an agent, answer by answer.

    A line is a message. It goes on in the next line after a \ at its end, and three double quotes
    begin and end a message of many lines. /help shows the commands. Ctrl-C stops an answer, Ctrl-D
    leaves. Piped in, every line is a message too.
    """
    from timestep.cli.agent.recording import recorded
    from timestep.cli.agent.setup import prepare
    from timestep.cli.chat.loop import talk

    asked = AgentOptions(**options)
    asking = prepare(asked, context, name="timestep chat")
    with recorded(context.settings):
        talk(asking, session=asked.session, approves=approve)
