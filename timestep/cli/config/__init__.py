"""``timestep config``: what is configured, where it came from, and how to begin."""

import click

from timestep.cli.commands import Group
from timestep.cli.config.explain import explain
from timestep.cli.config.init import init
from timestep.cli.config.path import path
from timestep.cli.config.schema import schema
from timestep.cli.config.show import show


@click.group(cls=Group)
def config() -> None:
    """Show the configuration, or begin one. No secret is ever printed."""


for command in (show, explain, init, schema, path):
    config.add_command(command)
