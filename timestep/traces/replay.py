"""Runs a recorded run again, from any of its model calls on.

`timestep.traces.rebuilt_agents` makes the agents, and `timestep.traces.replay_limits` says what of a run is done
again. Which models answer is the caller's choice, for example stored answers behind a test server, or
another model.
"""

import sys
from dataclasses import dataclass
from typing import Any

from agents import (
    FunctionToolResult,
    ModelProvider,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    Runner,
    ToolsToFinalOutputResult,
)

from timestep.errors import UnsupportedInputError
from timestep.traces.conversation import asked
from timestep.traces.rebuilt_agents import Body, RebuiltAgents, RecordedResults, input_items
from timestep.traces.records import Trace
from timestep.traces.replay_limits import turns_left, was_streamed

_LEAST_TURNS = 10


@dataclass
class Replayed:
    """What a replay came to."""

    answer: str | None  # the final output; None when the record ended before it
    unknown_calls: list[str]  # calls that the recorded run did not make, written as in Python


class RecordEndsError(UnsupportedInputError):
    """The record ends before the next answer of a model, so a replay cannot go on."""


async def replay(
    trace: Trace,
    provider: ModelProvider,
    *,
    body: Body,
    step: int = 1,
    model: str | None = None,
    most_calls: int | None = None,
) -> Replayed:
    """Run *trace* again from its model call number *step* on; the first one is 1.

    Every agent asks *model*, or its recorded one. The run stops before the models are called once more
    than *most_calls*.
    """
    calls = trace.model_calls
    if not 1 <= step <= len(calls):
        raise UnsupportedInputError(
            f"Model call {step} does not exist: the run has {len(calls)} model calls."
        )
    start = calls[step - 1]
    recorded = RecordedResults(trace)
    turns = turns_left(trace, step)
    counted = _CountedCalls(sys.maxsize if most_calls is None or turns else most_calls)
    agents = RebuiltAgents(trace, recorded, body, model, counted.end)
    config = RunConfig(
        model_provider=provider,
        workflow_name=trace.name,
        group_id=trace.group_id,
        trace_metadata={
            "replay_of": trace.trace_id,
            "from_step": str(step),
            "model": model or "recorded",
        },
    )
    output = await _run(
        was_streamed(trace),
        agents.around(start),
        input_items([message for message in asked(start) if message.role != "system"]),
        max_turns=turns or max(_LEAST_TURNS, 2 * len(calls)),
        hooks=counted,
        run_config=config,
    )
    answer = None if counted.ended_run else str(output)
    return Replayed(answer, recorded.unknown)


async def _run(is_streamed: bool, *arguments: Any, **options: Any) -> Any:
    """Return the final output of a run."""
    if not is_streamed:
        return (await Runner.run(*arguments, **options)).final_output
    result = Runner.run_streamed(*arguments, **options)
    async for _ in result.stream_events():
        pass
    return result.final_output


class _CountedCalls(RunHooks[Any]):
    """Counts the calls of models, and ends a run before there are too many."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.ended_run = False

    async def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        """Count a call."""
        if self._left <= 0:
            raise RecordEndsError("The record ends here: it has no further answer of a model.")
        self._left -= 1

    def end(
        self, context: RunContextWrapper[Any], results: list[FunctionToolResult]
    ) -> ToolsToFinalOutputResult:
        """Let the tools' results be the last, when no model can read them."""
        self.ended_run = self._left <= 0
        return ToolsToFinalOutputResult(is_final_output=self.ended_run)
