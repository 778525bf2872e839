"""``timestep demo``: agents at work with a replayed model."""

import textwrap

import click

from timestep.cli.terminal import width

_INTRODUCTION = """\
No model runs here. A test server on this machine replays what a model could have said. The \
settings, the provider, the requests and the Agents SDK's Runner are real."""


@click.command()
def demo() -> None:
    """Run agents with a replayed model: no key, no server, no network.

    Shows a streamed tool call, structured output and a handoff. Only the model's words are
    replayed; the settings, the provider, the requests and the Agents SDK's Runner are real.
    """
    click.echo(textwrap.fill(_INTRODUCTION, width()))
    from timestep.cli.demo.play import play  # two seconds; the user reads meanwhile

    play()
