"""Runs a recorded run again, offline or with another model, and compares."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

import click
from agents import AgentsException, ModelProvider

from timestep.cli.context import Context
from timestep.cli.output import clean, print_json, print_wrapped
from timestep.cli.streams import log_filter
from timestep.cli.traces.record import open_record, short
from timestep.cli.traces.recorded import RecordedModels, RecordedServersStore
from timestep.cli.traces.runs import chosen_calls, print_comparison
from timestep.errors import UnsupportedInputError
from timestep.net.secrets import configured_keys
from timestep.registry import build_provider
from timestep.traces import Span, Trace, TraceProcessor, TraceStore
from timestep.traces.export import view_diff
from timestep.traces.replay import RecordEndsError, Replayed
from timestep.traces.replay import replay as run_again
from timestep.traces.replay_limits import from_step, limits, stored
from timestep.traces.sdk_processors import use_only
from timestep.traces.summary import Ending, ending


def replay_run(context: Context, run: str, step: int, model: str | None, *, as_json: bool) -> bool:
    """Replay *run* and print the comparison. Return True if it did not fail, or failed in the same way."""
    with open_record(context) as store:
        trace = store.get(run)
        if not trace.model_calls:
            raise click.ClickException(
                f"{_recorded_ending(trace)} It has no model calls, so there is nothing to replay."
            )
        chosen_calls(trace, step)
        done, error = _run_again(context, store, trace, step, model)
        again = store.get("last")
        if (again.metadata or {}).get("replay_of") != trace.trace_id:
            raise click.ClickException(error)
    return _report(trace, step, again, done, as_json=as_json) or not error


def _run_again(
    context: Context, store: TraceStore, trace: Trace, step: int, model: str | None
) -> tuple[Replayed | None, str]:
    """Return the result of a replay, or why it failed. It is recorded in the file of *store*."""
    settings = context.settings
    calls = _stored_calls(trace, step) if model is None else None
    with ExitStack() as stack:
        provider: ModelProvider
        rename: Callable[[str], str] = str
        if calls is None:
            provider = build_provider(settings)
        else:
            try:
                provider = recorded = RecordedModels(stack, store, calls)
            except UnsupportedInputError as exc:
                raise click.ClickException(str(exc)) from exc
            rename = recorded.as_recorded
            # Warnings about answers are no news, and advise on the next call.
            stack.enter_context(log_filter(lambda record: not hasattr(record, "topic")))
        target = RecordedServersStore(
            store.path, rename, redact=settings.traces.redact, secrets=configured_keys(settings)
        )
        recorder = TraceProcessor(target)
        use_only([recorder])
        try:
            again = run_again(
                trace,
                provider,
                body=store.body,
                step=step,
                model=model,
                most_calls=None if calls is None else len(calls),
            )
            return asyncio.run(again), ""
        except RecordEndsError:
            return Replayed(None, []), ""
        except AgentsException as exc:
            return None, rename(str(exc))
        finally:
            use_only([])
            recorder.force_flush()  # what is compared next is read from the file
            recorder.shutdown()


def _stored_calls(trace: Trace, step: int) -> list[Span]:
    calls = stored(from_step(trace, step).model_calls)
    if not calls:
        is_asked = trace.model_calls[step - 1].exchanges
        hint = " Name a model to ask instead: --model NAME" if is_asked else ""
        raise click.ClickException(
            f"{_recorded_ending(trace)} Model call {step} has no stored answer, so there is "
            f"nothing to replay.{hint}"
        )
    return calls


def _recorded_ending(trace: Trace) -> str:
    return clean(ending(trace).sentence("The recorded run"))


def _report(
    trace: Trace,
    step: int,
    again: Trace,
    done: Replayed | None,
    *,
    as_json: bool,
) -> bool:
    """Print how the replay compares. Return True when it ended as the recorded run did."""
    before, not_repeated = from_step(trace, step), limits(trace, step)
    recorded, replayed = ending(before), ending(again)
    is_same = recorded == replayed
    if done is not None and done.answer is None:
        is_same, replayed = recorded.outcome == "ok", Ending("ok", "ended where the record ends")
    unknown = [] if done is None else done.unknown_calls
    if as_json:
        print_json(
            {
                "trace_id": again.trace_id,
                "answer": None if done is None else done.answer,
                "recorded": asdict(recorded),
                "replayed": asdict(replayed),
                "same": is_same,
                "not_repeated": not_repeated,
                "unknown_calls": unknown,
                "diff": view_diff(before, again),
            }
        )
        return is_same
    ends = recorded.sentence("The recorded run"), replayed.sentence("The replay")
    print_comparison(before, again, ends, is_same_end=is_same)
    for sentence in not_repeated:
        print_wrapped(clean(sentence))
    for call in unknown:
        click.echo(f"This call has no recorded result: {call}", err=True)
    click.echo(f"Recorded as {short(again.trace_id)}.", err=True)
    return is_same
