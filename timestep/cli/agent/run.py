"""One run of an agent, reported as plain events while it runs."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias, cast

import click
from agents import (
    Agent,
    HandoffOutputItem,
    Model,
    RunConfig,
    RunItem,
    Runner,
    RunResultStreaming,
    RunState,
    ToolCallItem,
    ToolCallOutputItem,
    ToolErrorFormatterArgs,
    TResponseInputItem,
)
from agents.items import TResponseStreamEvent
from openai.types.responses import Response

from timestep.answer.chunks import INCOMPLETE
from timestep.cli.agent.costs import Costs
from timestep.cli.spinner import Spinner
from timestep.errors import ModelOutputError
from timestep.traces.calls import read_arguments
from timestep.traces.tool_failures import note_failure, read_failure


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a message's text."""

    text: str


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """The end of a message."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call by the model."""

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call."""

    id: str
    name: str
    result: str


@dataclass(frozen=True, slots=True)
class ToolError:
    """The exception that a tool raised. Its result, which the model gets, may say less."""

    id: str
    name: str
    error: str
    place: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Handoff:
    """A handoff from one agent to another."""

    source: str
    target: str


Event: TypeAlias = Thinking | Text | MessageEnd | ToolCall | ToolError | ToolResult | Handoff


def as_json(event: Event) -> dict[str, Any]:
    """Return *event* as a JSON object."""
    name = re.sub(r"\B([A-Z])", r"_\1", type(event).__name__).lower()
    return {"type": name, **asdict(event)}


class AgentRun:
    """Runs an agent on one question and collects what it produces.

    Args:
        show: Called with each event as soon as it arrives; None to collect them only.
        model: The name of the model, for people.
        timeout: The seconds after which to give up; None waits as long as it takes.
        interrupt: Called before agents and tools print something on a terminal.
    """

    def __init__(
        self,
        show: Callable[[Event], None] | None,
        *,
        model: str = "the model",
        timeout: float | None = None,
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        self.text = ""
        self.thinking = ""
        self.calls: dict[str, dict[str, Any]] = {}  # by id, with a result once there is one
        self.costs = Costs()
        self.models: set[str] = set()  # those that answered, as their servers know them
        self.problem = ""  # why the server ended the answer early
        # "max_output_tokens" or another reason. With text it is an answer all the same.
        self.cut_by = ""
        # The setting that allows a longer answer, from the warning that was kept out of the log.
        self.limit = ""
        self.spinner = Spinner(interrupt)
        self._show = show
        self._model = model
        self._timeout = timeout
        self._started = time.monotonic()

    @property
    def why_cut(self) -> str:
        """Why the answer is not complete, and the next step; empty if it was not cut."""
        if not self.cut_by:
            return ""
        is_long = self.cut_by == INCOMPLETE["length"]
        why = "the model reached its token limit" if is_long else self.cut_by
        return f"The answer is not complete: {why}." + (
            f" Raise {self.limit}." if self.limit else ""
        )

    async def play(
        self,
        agent: Agent[Any],
        given: list[TResponseInputItem] | RunState[Any],
        config: RunConfig,
        max_turns: int,
    ) -> RunResultStreaming:
        """Run *agent* on *given* until it answers or a tool call needs approval.

        The server has stopped generating when this returns or raises.
        """
        model = config.model or agent.model
        if not isinstance(model, Model):
            config.model_provider.get_model(model)
        config = replace(config, tool_error_formatter=self._take_failure)
        self.spinner.wait_for(self._model)
        result = Runner.run_streamed(agent, given, run_config=config, max_turns=max_turns)
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                async for event in result.stream_events():
                    if event.type == "raw_response_event":
                        self._take(event.data)
                    elif event.type == "run_item_stream_event":
                        self._take_item(event.item)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise click.ClickException(
                f"No complete answer within {self._timeout:g} s. Allow more with --timeout."
            ) from exc
        except ModelOutputError as exc:
            self.cut_by = self.cut_by or (INCOMPLETE["length"] if exc.is_cut else "")
            raise
        finally:
            self.costs.total_seconds = time.monotonic() - self._started
            result.cancel()
            if result.run_loop_task is not None:
                await asyncio.wait([result.run_loop_task])
        return result

    def _take(self, event: TResponseStreamEvent) -> None:
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                self.text += event.delta
                self._tell(Text(event.delta))
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                self.thinking += event.delta
                self._tell(Thinking(event.delta))
            case "response.output_item.done" if event.item.type == "message":
                self._tell(MessageEnd())
            case "response.completed":
                self.models.add(str(event.response.model))
                self.costs.add(event.response.usage)
                self.cut_by = _cut_by(event.response)
            case "response.incomplete":
                self.costs.add(event.response.usage)
                self.cut_by = _cut_by(event.response) or "no reason given"
                self.problem = self.why_cut
            case "response.failed":
                self.costs.add(event.response.usage)
                self.cut_by = _cut_by(event.response)
                self.problem = event.response.error.message if event.response.error else ""
            case _:
                pass  # repeats what other events bring

    def _take_item(self, item: RunItem) -> None:
        match item:
            case ToolCallItem():
                call = _read_call(item)
                self.calls[call.id] = {"name": call.name, "arguments": call.arguments}
                self._tell(call)
            case ToolCallOutputItem():
                call_id = str(field_of(item.raw_item, "call_id") or "")
                called = self.calls.setdefault(call_id, {"name": "", "arguments": None})
                called["result"] = str(item.output)
                self._tell(ToolResult(call_id, called["name"], str(item.output)))
            case HandoffOutputItem():
                self._tell(Handoff(item.source_agent.name, item.target_agent.name))
            case _:
                pass  # the raw events have brought it

    def _take_failure(self, args: ToolErrorFormatterArgs[Any]) -> None:
        note_failure(args)
        error = getattr(args, "error", None)  # since openai-agents 0.24
        if error is not None:
            failure = read_failure(error)
            called = self.calls.setdefault(
                args.call_id, {"name": args.tool_name, "arguments": None}
            )
            called["error"] = failure.error
            self._tell(ToolError(args.call_id, args.tool_name, **asdict(failure)))

    def take_warning(self, record: logging.LogRecord) -> bool:
        """Keep the warning about a cut answer out of the log: the command says it."""
        if getattr(record, "topic", "") != "cut":
            return True
        self.limit = str(getattr(record, "setting", ""))
        return False

    def _tell(self, event: Event) -> None:
        if self.costs.first_token_seconds is None:
            self.costs.first_token_seconds = time.monotonic() - self._started
        if self._show is None:
            return
        self.spinner.stop()
        self._show(event)
        match event:
            case Thinking() | Text():
                pass  # the line goes on
            case ToolCall():
                self.spinner.wait_for(event.name)
            case _:
                self.spinner.wait_for(self._model)


def _read_call(item: ToolCallItem) -> ToolCall:
    raw = item.raw_item
    call_id = field_of(raw, "call_id") or field_of(raw, "id") or ""
    # Tools that run at the provider have other fields, but always a type.
    name = field_of(raw, "name") or field_of(raw, "type")
    return ToolCall(str(call_id), str(name), read_arguments(field_of(raw, "arguments")))


def field_of(raw: object, name: str) -> object:
    """Return the field *name* of an item, which is an object or a dict. None if it is missing."""
    if isinstance(raw, dict):
        return cast("dict[str, object]", raw).get(name)
    return getattr(raw, name, None)


def _cut_by(response: Response) -> str:
    details = response.incomplete_details
    return (details.reason if details else None) or ""
