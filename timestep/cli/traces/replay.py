"""``timestep traces replay``: run a recorded run again, and compare."""

import click

from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.options import model_option


@click.command()
@click.argument("run", metavar="ID", default="last", shell_complete=complete_trace)
@click.option(
    "--from",
    "step",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Start at model call number N.",
)
@model_option(help="Ask this model instead of the stored answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def replay(context: Context, *, run: str, step: int, model: str | None, as_json: bool) -> None:
    """Run a recorded run again, and compare.

    Without --model the stored answers are served again, offline and without any model. Tools do
    not run: they return their recorded results. Guardrails do not run either. The new run is
    recorded too. The exit code is 1 if the replay fails in another way than the recorded run.
    """
    from timestep.cli.traces.rerun import replay_run

    if not replay_run(context, run, step, model, as_json=as_json):
        raise click.exceptions.Exit(1)
