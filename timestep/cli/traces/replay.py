"""``timestep traces replay``: run a recorded run again, offline or with another model."""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_model
from timestep.cli.context import Context, pass_context
from timestep.cli.output import print_json
from timestep.cli.traces.diff import print_comparison
from timestep.cli.traces.format import short
from timestep.cli.traces.record import open_record

if TYPE_CHECKING:
    from agents import ModelProvider

    from timestep.traces import Trace


@click.command()
@click.argument("run", metavar="ID", default="last")
@click.option(
    "--from",
    "step",
    metavar="N",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Start at model call number N.",
)
@click.option(
    "-m",
    "--model",
    metavar="NAME",
    shell_complete=complete_model,
    help="Ask this model instead of the stored answers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_context
def replay(context: Context, *, run: str, step: int, model: str | None, as_json: bool) -> None:
    """Run a recorded run again, and compare.

    Without --model the stored answers are served again, offline and without any model. Tools do
    not run: they return their recorded results. The new run is recorded too.
    """
    from agents import AgentsException

    from timestep.cli.traces.recorded import recorded_models
    from timestep.net.secrets import configured_keys
    from timestep.traces import install, uninstall
    from timestep.traces.replay import from_step
    from timestep.traces.replay import replay as run_again

    with open_record(context) as store, ExitStack() as stack:
        trace = store.get(run)
        if step > len(trace.model_calls):
            raise click.UsageError(
                f"The run has {len(trace.model_calls)} model calls, so there is no {step}."
            )
        provider = (
            recorded_models(stack, store, trace.model_calls[step - 1 :])
            if model is None
            else _configured_models(context)
        )
        install(
            store.path,
            redact=context.settings.traces.redact,
            secrets=configured_keys(context.settings),
        )
        try:
            done = asyncio.run(run_again(trace, provider, body=store.body, step=step, model=model))
        except AgentsException as exc:
            raise click.ClickException(str(exc)) from exc
        finally:
            uninstall()
        again = store.get("last")
        _report(from_step(trace, step), again, done.answer, done.unknown_calls, as_json=as_json)


def _report(
    before: "Trace", after: "Trace", answer: str, unknown: list[str], *, as_json: bool
) -> None:
    from timestep.traces.export import view_diff

    if as_json:
        print_json(
            {
                "trace_id": after.trace_id,
                "answer": answer,
                "unknown_calls": unknown,
                "diff": view_diff(before, after),
            }
        )
        return
    print_comparison(before, after)
    for call in unknown:
        click.echo(f"This call has no recorded result: {call}", err=True)
    click.echo(f"Recorded as {short(after.trace_id)}.", err=True)


def _configured_models(context: Context) -> "ModelProvider":
    from timestep.registry import build_provider

    return build_provider(context.settings)
