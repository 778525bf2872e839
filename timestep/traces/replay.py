"""Runs a recorded run again, from any of its model calls on.

The agents are rebuilt from what their models were told: instructions, tools, handoffs, settings.
Tools are not executed: they answer, or raise, what was recorded. Guardrails are left out. Which
models answer is the caller's choice, for example stored answers behind a test server, or another
model.
"""

import json
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, cast

from agents import (
    Agent,
    AgentOutputSchemaBase,
    FunctionTool,
    FunctionToolResult,
    ModelProvider,
    ModelSettings,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    Runner,
    ToolsToFinalOutputResult,
    TResponseInputItem,
    handoff,
)
from agents.tracing import get_current_span
from openai.types.shared import Reasoning

from timestep.errors import UnsupportedInputError
from timestep.net.foreign import mapping
from timestep.traces.conversation import Message, answered, asked, results, tool_spans
from timestep.traces.records import JsonObject, Span, Trace
from timestep.traces.summary import error_details
from timestep.traces.text import as_json, call_text, canonical_arguments
from timestep.traces.tool_failures import repeat_error

NOT_RECORDED = "This is a replay of a recorded run, and it has no result for this call."

_SETTINGS = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "tool_choice",
    "parallel_tool_calls",
)
_LEAST_TURNS = 10
_STREAM_FAILED = "Error streaming response"

Body = Callable[[str], bytes]


@dataclass
class Replayed:
    """What a replay came to.

    Attributes:
        answer: The final output; None when the record ended before it.
        unknown_calls: Calls that the recorded run did not make, written as in Python.
    """

    answer: str | None
    unknown_calls: list[str]


class RecordEndsError(UnsupportedInputError):
    """The record ends before the next answer of a model, so a replay cannot go on."""


class RecordedToolError(Exception):
    """What a tool raised in the recorded run."""


@dataclass(frozen=True)
class RecordedResult:
    """What a call of a tool came to: the text that its model read, and the error of its span.

    Attributes:
        text: None when the tool ended the run.
        error: None when the tool did well.
    """

    text: str | None
    error: JsonObject | None = None


@dataclass
class RecordedResults:
    """The results of a run's tools, handed out in the order they were made."""

    by_call: dict[tuple[str, str], deque[RecordedResult]] = field(
        default_factory=dict[tuple[str, str], deque[RecordedResult]]
    )
    unknown: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, trace: Trace) -> "RecordedResults":
        """Return the results in *trace*."""
        found = cls()
        by_id, spans = results(trace), tool_spans(trace)
        for span in trace.model_calls:
            for call in (call for message in answered(span) for call in message.calls):
                key = (call.name, canonical_arguments(call.arguments))
                waiting = found.by_call.setdefault(key, deque())
                result = _result(by_id.get(call.call_id or ""), spans.get(call.call_id or ""))
                if result is not None:
                    waiting.append(result)
        return found

    def take(self, name: str, arguments: str) -> RecordedResult:
        """Return the next result of this call; the last one is returned again and again."""
        waiting = self.by_call.get((name, canonical_arguments(arguments)))
        if waiting is None:
            self.unknown.append(call_text(name, arguments))
        if not waiting:
            return RecordedResult(NOT_RECORDED)
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


def _result(message: Message | None, span: Span | None) -> RecordedResult | None:
    error = None if span is None else span.error
    if message is not None:
        return RecordedResult(message.text, error)
    output = None if span is None else span.data.get("output")
    if output is not None:  # the run ended before a model read it
        return RecordedResult(output if isinstance(output, str) else as_json(output), error)
    return None if error is None else RecordedResult(None, error)


async def replay(
    trace: Trace,
    provider: ModelProvider,
    *,
    body: Body,
    step: int = 1,
    model: str | None = None,
    most_calls: int | None = None,
) -> Replayed:
    """Run *trace* again from its model call number *step* on.

    Args:
        trace: The recorded run.
        provider: Of the models.
        body: Looks up the stored requests, by hash.
        step: The number of the model call to start from, from 1.
        model: For every agent; the recorded names when None.
        most_calls: Stop before the models are called once more than so often.

    Raises:
        UnsupportedInputError: The record lacks what a replay needs.
    """
    calls = trace.model_calls
    if not 1 <= step <= len(calls):
        raise UnsupportedInputError(
            f"Model call {step} does not exist: the run has {len(calls)} model calls."
        )
    start = calls[step - 1]
    recorded = RecordedResults.of(trace)
    turns = _turns_left(trace, step)
    counted = _CountedCalls(sys.maxsize if most_calls is None or turns else most_calls)
    agents = _Agents(trace, recorded, body, model, counted)
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
        _was_streamed(trace),
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


def _was_streamed(trace: Trace) -> bool:
    """Return whether a model failed while it streamed; only a failure says so, and it matters then."""
    return any(mapping(span.error).get("message") == _STREAM_FAILED for span in trace.model_calls)


def from_step(trace: Trace, step: int) -> Trace:
    """Return what a replay of *trace* from its model call number *step* on does again.

    That is one run: not those that its tools began, or that the application put into the same
    trace. A replay runs no guardrails, and asks no model that failed before another one answered.
    """
    start = trace.model_calls[step - 1]
    failed = _failed_tries(trace)
    spans = [
        span
        for span in _same_run(trace, start)
        if (span.started_at >= start.started_at or span.kind in {"agent", "turn"})
        and span.kind != "guardrail"
        and span not in failed
    ]
    return replace(trace, spans=spans, started_at=start.started_at)


def stored(calls: Sequence[Span]) -> list[Span]:
    """Return the first of *calls*, as far as their stored answers can be served again."""
    return list(takewhile(lambda call: not _interruption(call), calls))


def limits(trace: Trace, step: int) -> list[str]:
    """Return what a replay of *trace* does not do again, a sentence each."""
    ours, failed = _same_run(trace, trace.model_calls[step - 1]), _failed_tries(trace)
    guardrails = dict.fromkeys(span.name for span in ours if span.kind == "guardrail")
    models = dict.fromkeys(span.name for span in ours if span in failed)
    reasons = dict.fromkeys(
        _interruption(span) for span in ours if span.is_call and span not in failed
    )
    return [
        *(f"A replay does not run the guardrail {name}." for name in guardrails),
        *(f"A replay does not repeat a failed try of {name}." for name in models),
        *(f"A replay does not repeat {reason}." for reason in reasons if reason),
    ]


def _same_run(trace: Trace, call: Span) -> list[Span]:
    task = trace.around(call, "task")
    return [span for span in trace.spans if trace.around(span, "task") == task]


def _failed_tries(trace: Trace) -> list[Span]:
    """Return the model calls that another one followed in the same turn, as in a chain."""
    last: dict[str, Span] = {}
    failed: list[Span] = []
    for call in trace.model_calls:
        turn = trace.around(call, "turn")
        if turn is not None:
            failed += [last[turn.span_id]] if turn.span_id in last else []
            last[turn.span_id] = call
    return failed


def _interruption(call: Span) -> str:
    """Return what kept *call* from its own end; empty when nothing did."""
    if call.ended_at is None:
        return "the end of a process"
    if call.outcome == "cancelled":
        return "a cancellation"
    name, _, _ = str(error_details(call.error).get("error")).partition(":")
    return "a timeout" if call.is_model_call and name.endswith("TimeoutError") else ""


def _turns_left(trace: Trace, step: int) -> int | None:
    """Return how many turns there were from model call *step* on, if their limit ended the run."""
    start = trace.model_calls[step - 1]
    for span in (ours := _same_run(trace, start)):
        limit = error_details(span.error).get("max_turns")
        if isinstance(limit, int):
            begun = [each for each in ours if each.kind == "turn"]
            begun = [turn for turn in begun if turn.started_at <= start.started_at]
            return max(1, limit - max(0, len(begun) - 1))
    return None


class _CountedCalls(RunHooks[Any]):
    """Counts the calls of models, and ends a run before there are too many.

    Attributes:
        ended_run: Whether it has.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self.ended_run = False

    async def on_llm_start(self, *args: Any, **kwargs: Any) -> None:
        """Count a call.

        Raises:
            RecordEndsError: There are no more calls.
        """
        if self._left <= 0:
            raise RecordEndsError("The record ends here: it has no further answer of a model.")
        self._left -= 1

    def end(
        self, context: RunContextWrapper[Any], results: list[FunctionToolResult]
    ) -> ToolsToFinalOutputResult:
        """Let the tools' results be the last, when no model can read them."""
        self.ended_run = self._left <= 0
        return ToolsToFinalOutputResult(is_final_output=self.ended_run)


def input_items(messages: list[Message]) -> list[TResponseInputItem]:
    """Return *messages* as SDK items. Thinking is left out: only its own model may read it.

    Raises:
        UnsupportedInputError: A message has images, or is of an unknown kind.
    """
    items: list[dict[str, Any]] = []
    for message in messages:
        if message.images:
            raise UnsupportedInputError("The run has images, which cannot be replayed.")
        match message.role:
            case "user":
                items.append({"role": "user", "content": message.text})
            case "assistant":
                items += _answer_items(message)
            case "tool":
                items.append(
                    {
                        "type": "function_call_output",
                        "call_id": message.call_id,
                        "output": message.text,
                    }
                )
            case other:
                raise UnsupportedInputError(
                    f"The run has a {other!r} in its history, which cannot be replayed."
                )
    return cast("list[TResponseInputItem]", items)


class _Agents:
    """The agents of a run, rebuilt when they are needed."""

    def __init__(
        self,
        trace: Trace,
        recorded: RecordedResults,
        body: Body,
        model: str | None,
        counted: _CountedCalls,
    ) -> None:
        self._trace = trace
        self._counted = counted
        self._recorded = recorded
        self._body = body
        self._model = model
        self._built: dict[str, Agent[Any]] = {}

    def around(self, call: Span) -> Agent[Any]:
        """Return the agent that made the model call *call*."""
        span = self._trace.around(call, "agent")
        return self._build("agent" if span is None else span.name, call, span)

    def named(self, name: str) -> Agent[Any]:
        """Return the agent called *name*; a bare one if it never ran."""
        if name in self._built:
            return self._built[name]
        for call in self._trace.model_calls:
            span = self._trace.around(call, "agent")
            if span is not None and span.name == name:
                return self._build(name, call, span)
        return Agent(name=name, model=self._model or self._trace.model_calls[0].model)

    def _build(self, name: str, call: Span, span: Span | None) -> Agent[Any]:
        request = self._request(call)
        agent: Agent[Any] = Agent(
            name=name,
            model=self._model or call.model,
            instructions="\n\n".join(m.text for m in asked(call) if m.role == "system") or None,
            model_settings=_settings(call.data.get("model_config") or {}),
            output_type=_output_type(request),
            tool_use_behavior=self._counted.end,
        )
        self._built[name] = agent  # before its handoffs: they may lead back
        handoffs = {
            handed.tool_name: handed
            for target in (span.data.get("handoffs") if span else None) or ()
            for handed in [handoff(self.named(str(target)))]
        }
        for tool in request.get("tools") or ():
            definition: Mapping[str, Any] = tool.get("function") or tool
            tool_name = str(definition.get("name"))
            if tool_name in handoffs:
                agent.handoffs.append(handoffs[tool_name])
            else:
                agent.tools.append(_recorded_tool(tool_name, definition, self._recorded))
        return agent

    def _request(self, call: Span) -> dict[str, Any]:
        """Return the rest of the request, beside the messages."""
        if call.exchanges:
            return cast("dict[str, Any]", json.loads(self._body(call.exchanges[0].request)))
        if call.kind == "response" and call.data.get("input") is not None:
            return {"tools": call.data.get("tools")}
        raise UnsupportedInputError(
            f"The request to {call.name} was not recorded, so its tools are not known. Only calls of "
            "timestep's models and of the Responses API can be replayed, and only with their content."
        )


def _recorded_tool(
    name: str, definition: Mapping[str, Any], recorded: RecordedResults
) -> FunctionTool:
    async def answer(context: Any, arguments: str) -> str:
        result, span = recorded.take(name, arguments), get_current_span()
        if span is not None and result.error is not None:
            repeat_error(span, result.error)
        if result.text is None:
            raise RecordedToolError(str(error_details(result.error).get("error")))
        return result.text

    return FunctionTool(
        name=name,
        description=str(definition.get("description") or ""),
        params_json_schema=dict(definition.get("parameters") or {}),
        on_invoke_tool=answer,
        strict_json_schema=False,
    )


def _settings(config: Mapping[str, Any]) -> ModelSettings:
    given = {name: config[name] for name in _SETTINGS if config.get(name) is not None}
    if isinstance(effort := config.get("reasoning"), Mapping):
        given["reasoning"] = Reasoning(**cast("Mapping[str, Any]", effort))
    return ModelSettings(**given)


def _output_type(request: Mapping[str, Any]) -> AgentOutputSchemaBase | None:
    schema: Any = request.get("format")
    match request.get("response_format"):
        case {"json_schema": {"schema": found}}:
            schema = found
        case _:
            pass
    if not isinstance(schema, dict) or request.get("tools"):
        return None  # beside tools a format forces a call
    return _RecordedSchema(cast("dict[str, Any]", schema))


class _RecordedSchema(AgentOutputSchemaBase):
    """The shape of an answer, as its request asked for it."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return str(self._schema.get("title") or "answer")

    def json_schema(self) -> dict[str, Any]:
        return self._schema

    def is_strict_json_schema(self) -> bool:
        return False

    def validate_json(self, json_str: str) -> Any:
        return json.loads(json_str)


def _answer_items(message: Message) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if message.text:
        items.append({"role": "assistant", "content": message.text})
    items += [
        {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": canonical_arguments(call.arguments),
        }
        for call in message.calls
    ]
    return items
