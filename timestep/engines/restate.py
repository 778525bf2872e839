"""Restate: every answer of a model is kept in the journal.

Restate's ``DurableRunner`` replaces the provider of a run, so a handler uses the SDK's own Runner:

    @assistant.handler()
    async def ask(ctx: restate.Context, question: str) -> str:
        result = await Runner.run(agent, question, run_config=run_config(provider))
        return result.final_output

An agent names its model, as in ``Agent(model="ollama/qwen3:4b")``: a `Model` object goes past the
provider, and so past the journal. A tool that must not run twice is a
``restate.ext.openai.durable_function_tool`` which does its work in ``restate_context().run_typed``.
"""

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from agents import (
    Model,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    RunConfig,
    ToolExecutionConfig,
    TResponseInputItem,
)
from agents.items import TResponseStreamEvent
from pydantic import TypeAdapter
from restate import RunOptions, TerminalError
from restate.exceptions import RetryableError
from restate.ext.openai import restate_context
from restate.serde import Serde

from timestep.engines.attempts import failure_of, once
from timestep.net.retries import without_retries


def run_config(
    provider: ModelProvider, *, options: RunOptions[ModelResponse] | None = None, **others: Any
) -> RunConfig:
    """Return the configuration of a run whose model calls are kept in the journal.

    Tools run one after another, because the order of a journal must be the same in every attempt.

    Args:
        provider: Where the models come from.
        options: How often, and how long, Restate repeats a call that failed temporarily.
        others: More fields of `agents.RunConfig`.
    """
    return RunConfig(
        model_provider=JournaledProvider(provider, options),
        tool_execution=ToolExecutionConfig(max_function_tool_concurrency=1),
        **others,
    )


class JournaledProvider(ModelProvider):
    """The models of another provider, with their answers in the journal of the running handler."""

    def __init__(
        self, provider: ModelProvider, options: RunOptions[ModelResponse] | None = None
    ) -> None:
        self._provider = provider
        self._options = replace(options or RunOptions[ModelResponse](), serde=Answers())

    def get_model(self, model_name: str | None) -> Model:
        """Return the model *model_name*; a wrong name fails the call that asks it."""
        return _JournaledModel(self._provider, model_name, self._options)


@dataclass(frozen=True, eq=False)
class _JournaledModel(Model):
    provider: ModelProvider
    name: str | None
    options: RunOptions[ModelResponse]

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        *others: Any,
        **state: Any,
    ) -> ModelResponse:
        """Return the answer in the journal, or else ask the model and write its answer there."""

        async def ask() -> ModelResponse:
            with without_retries(), _as_restate_understands():
                return await self.provider.get_model(self.name).get_response(
                    system_instructions, input, once(model_settings), *others, **state
                )

        name = f"ask {self.name or 'the default model'}"
        return await restate_context().run_typed(name, ask, self.options)

    def stream_response(self, *args: Any, **keywords: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Refuse to stream: a journal holds whole answers."""
        raise TerminalError(
            "A handler of Restate cannot stream an answer; call Runner.run() instead of "
            "Runner.run_streamed()."
        )


class Answers(Serde[ModelResponse]):
    """Answers as the JSON of the SDK's own types."""

    def __init__(self) -> None:
        self._type = TypeAdapter(ModelResponse)

    def serialize(self, obj: ModelResponse | None) -> bytes:
        """Return the JSON of *obj*, with the fields that a server sent."""
        return b"" if obj is None else self._type.dump_json(obj, exclude_unset=True, by_alias=True)

    def deserialize(self, buf: bytes) -> ModelResponse | None:
        """Return the answer whose JSON *buf* is."""
        return self._type.validate_json(buf) if buf else None


@contextmanager
def _as_restate_understands() -> Generator[None]:
    """Raise the errors of a model as those that end a call, or that say when to repeat it."""
    try:
        yield
    except Exception as exc:
        failure = failure_of(exc)
        if failure is None:
            raise
        message = f"{failure.name}: {failure.message}"
        if not failure.passes:
            raise TerminalError(message) from exc
        if failure.wait is None:
            raise  # Restate waits longer each time
        raise RetryableError(message, retry_after=timedelta(seconds=failure.wait)) from exc
