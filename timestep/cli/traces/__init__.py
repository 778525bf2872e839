"""``timestep traces``: see what agents did, from the record on this machine."""

from pathlib import Path

import click

from timestep.cli.commands import Group
from timestep.cli.context import Context, configuration_options, keep_option
from timestep.cli.traces.diff import diff
from timestep.cli.traces.export import export
from timestep.cli.traces.list import list_runs
from timestep.cli.traces.prune import prune
from timestep.cli.traces.replay import replay
from timestep.cli.traces.search import search
from timestep.cli.traces.serve import serve
from timestep.cli.traces.show import show
from timestep.cli.traces.stats import stats
from timestep.cli.traces.tail import tail
from timestep.cli.traces.verify import verify


@click.group(cls=Group)
@click.option(
    "--file",
    "trace_file",
    expose_value=False,
    callback=keep_option,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read this record instead of the configured one.",
)
@configuration_options
def traces(context: Context) -> None:
    """See what agents did.

    An ID can be shortened to its beginning. "last" is the last run, "last-1" the one before it.
    """


for command in (list_runs, show, tail, search, stats, export, replay, diff, serve, prune, verify):
    traces.add_command(command)
