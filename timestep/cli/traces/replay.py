"""``timestep traces replay``: run a recorded run again, offline or with another model."""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_model, complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.output import print_aside, print_json
from timestep.cli.traces.diff import print_comparison
from timestep.cli.traces.format import short
from timestep.cli.traces.record import open_record

if TYPE_CHECKING:
    from agents import ModelProvider

    from timestep.traces import Trace, TraceStore
    from timestep.traces.replay import Replayed


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
    not run: they return their recorded results. The new run is recorded too. A run that failed
    fails again, and the failures are compared.
    """
    with open_record(context) as store:
        trace = store.get(run)
        if not trace.model_calls:
            raise click.ClickException("The run has no model calls, so there is nothing to replay.")
        if step > len(trace.model_calls):
            raise click.UsageError(
                f"Model call {step} does not exist: the run has {len(trace.model_calls)} model calls."
            )
        done, error = _run_again(context, store, trace, step, model)
        again = store.get("last")
        if (again.metadata or {}).get("replay_of") != trace.trace_id:
            raise click.ClickException(error)
    _report(trace, step, again, done, error, as_json=as_json)
    if error and trace.outcome != "failed":
        raise click.ClickException(error)


def _run_again(
    context: Context, store: "TraceStore", trace: "Trace", step: int, model: str | None
) -> "tuple[Replayed | None, str]":
    """Return the result of a replay, or why it failed. It is recorded in the file of *store*."""
    from agents import AgentsException

    from timestep.cli.traces.recorded import RecordedModels, RecordedServersStore
    from timestep.net.secrets import configured_keys
    from timestep.registry import build_provider
    from timestep.traces import TraceProcessor, TraceStore
    from timestep.traces.replay import replay as run_again
    from timestep.traces.sdk_processors import use_only

    secrets, redact = configured_keys(context.settings), context.settings.traces.redact
    with ExitStack() as stack:
        provider: ModelProvider
        target: TraceStore
        if model is None:
            provider = recorded = RecordedModels(stack, store, trace.model_calls[step - 1 :])
            target = RecordedServersStore(store.path, recorded, redact=redact, secrets=secrets)
        else:
            provider, recorded = build_provider(context.settings), None
            target = TraceStore(store.path, redact=redact, secrets=secrets)
        recorder = TraceProcessor(target)
        use_only([recorder])
        try:
            again = run_again(trace, provider, body=store.body, step=step, model=model)
            return asyncio.run(again), ""
        except AgentsException as exc:
            return None, str(exc) if recorded is None else recorded.as_recorded(str(exc))
        finally:
            use_only([])
            recorder.shutdown()


def _report(
    trace: "Trace",
    step: int,
    again: "Trace",
    done: "Replayed | None",
    error: str,
    *,
    as_json: bool,
) -> None:
    from timestep.traces.export import view_diff
    from timestep.traces.replay import from_step

    before = from_step(trace, step)
    unknown = [] if done is None else done.unknown_calls
    if as_json:
        print_json(
            {
                "trace_id": again.trace_id,
                "answer": None if done is None else done.answer,
                "error": error or None,
                "unknown_calls": unknown,
                "diff": view_diff(before, again),
            }
        )
        return
    print_comparison(before, again)
    for call in unknown:
        click.echo(f"This call has no recorded result: {call}", err=True)
    if error and trace.outcome == "failed":
        print_aside(f"The replay failed, and so did the recorded run: {error}")
    click.echo(f"Recorded as {short(again.trace_id)}.", err=True)
