"""The agents of a recorded run, rebuilt from what their models were told.

Tools are not executed: they answer, or raise, what was recorded. Guardrails are left out.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from agents import (
    Agent,
    AgentOutputSchemaBase,
    FunctionTool,
    ModelSettings,
    ToolsToFinalOutputFunction,
    TResponseInputItem,
    handoff,
)
from agents.tracing import get_current_span
from openai.types.shared import Reasoning

from timestep.answer.json_schema import JsonSchema
from timestep.errors import UnsupportedInputError
from timestep.net.json_parts import entries, mapping
from timestep.net.json_text import as_json
from timestep.traces.calls import call_text, canonical_arguments
from timestep.traces.conversation import Message, answered, asked, results, tool_spans
from timestep.traces.records import JsonObject, Span, Trace
from timestep.traces.summary import error_details
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

Body = Callable[[str], bytes]
"""Looks up the body with a hash."""


class RecordedToolError(Exception):
    """What a tool raised in the recorded run."""


@dataclass(frozen=True)
class RecordedResult:
    """What a call of a tool came to: the text that its model read, and the error of its span."""

    text: str | None  # None when the tool ended the run
    error: JsonObject | None = None  # None when the tool did well


class RecordedResults:
    """The results of the tools of *trace*, handed out in the order they were made."""

    def __init__(self, trace: Trace) -> None:
        self.unknown: list[str] = []
        self._by_call: dict[tuple[str, str], deque[RecordedResult]] = {}
        by_id, spans = results(trace), tool_spans(trace)
        for span in trace.model_calls:
            for call in (call for message in answered(span) for call in message.calls):
                key = (call.name, canonical_arguments(call.arguments))
                waiting = self._by_call.setdefault(key, deque())
                result = _result(by_id.get(call.call_id or ""), spans.get(call.call_id or ""))
                if result is not None:
                    waiting.append(result)

    def take(self, name: str, arguments: str) -> RecordedResult:
        """Return the next result of this call; the last one is returned again and again."""
        waiting = self._by_call.get((name, canonical_arguments(arguments)))
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


def input_items(messages: list[Message]) -> list[TResponseInputItem]:
    """Return *messages* as SDK items. Thinking is left out: only its own model may read it."""
    items = [item for message in messages for item in _items(message)]
    return cast("list[TResponseInputItem]", items)


def _items(message: Message) -> Iterator[dict[str, Any]]:
    if message.images:
        raise UnsupportedInputError("The run has images, which cannot be replayed.")
    match message.role:
        case "user":
            yield {"role": "user", "content": message.text}
        case "assistant":
            if message.text:
                yield {"role": "assistant", "content": message.text}
            for call in message.calls:
                yield {
                    "type": "function_call",
                    "call_id": call.call_id,
                    "name": call.name,
                    "arguments": canonical_arguments(call.arguments),
                }
        case "tool":
            output = {"call_id": message.call_id, "output": message.text}
            yield {"type": "function_call_output", **output}
        case other:
            raise UnsupportedInputError(
                f"The run has a {other!r} in its history, which cannot be replayed."
            )


@dataclass
class RebuiltAgents:
    """The agents of a run, rebuilt when they are needed."""

    trace: Trace
    recorded: RecordedResults
    body: Body  # looks up the stored requests
    model: str | None  # for every agent; the recorded names when None
    after_tools: ToolsToFinalOutputFunction  # decides whether the results of tools are the last
    _built: dict[str, Agent[Any]] = field(default_factory=dict[str, Agent[Any]])

    def around(self, call: Span) -> Agent[Any]:
        """Return the agent that made the model call *call*."""
        span = self.trace.around(call, "agent")
        return self._build("agent" if span is None else span.name, call, span)

    def named(self, name: str) -> Agent[Any]:
        """Return the agent called *name*; a bare one if it never ran."""
        if name in self._built:
            return self._built[name]
        for call in self.trace.model_calls:
            span = self.trace.around(call, "agent")
            if span is not None and span.name == name:
                return self._build(name, call, span)
        return Agent(name=name, model=self.model or self.trace.model_calls[0].model)

    def _build(self, name: str, call: Span, span: Span | None) -> Agent[Any]:
        request = self._request(call)
        agent: Agent[Any] = Agent(
            name=name,
            model=self.model or call.model,
            instructions="\n\n".join(m.text for m in asked(call) if m.role == "system") or None,
            model_settings=_settings(call.data.get("model_config") or {}),
            output_type=_output_type(request),
            tool_use_behavior=self.after_tools,
        )
        self._built[name] = agent  # before its handoffs: they may lead back
        handoffs = {
            handed.tool_name: handed
            for target in (span.data.get("handoffs") if span else None) or ()
            for handed in [handoff(self.named(str(target)))]
        }
        for tool in map(mapping, entries(request.get("tools"))):
            definition = mapping(tool.get("function")) or tool
            tool_name = str(definition.get("name"))
            if tool_name in handoffs:
                agent.handoffs.append(handoffs[tool_name])
            else:
                agent.tools.append(_recorded_tool(tool_name, definition, self.recorded))
        return agent

    def _request(self, call: Span) -> Mapping[str, Any]:
        """Return the rest of the request, beside the messages."""
        if call.exchanges:
            return read_request(self.body(call.exchanges[0].request))
        if call.kind == "response" and call.data.get("input") is not None:
            return {"tools": call.data.get("tools")}
        raise UnsupportedInputError(
            f"The request to {call.name} was not recorded, so its tools are not known. Only calls of "
            "timestep's models and of the Responses API can be replayed, and only with their content."
        )


def read_request(body: bytes) -> Mapping[str, Any]:
    """Return the request in the stored *body*."""
    try:
        request: object = json.loads(body)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise UnsupportedInputError(
            "A stored request is damaged, so the run cannot be replayed. 'timestep traces verify' "
            "lists what is damaged."
        )
    return cast("dict[str, Any]", request)


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
        params_json_schema=dict(mapping(definition.get("parameters"))),
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
    schema = cast("dict[str, Any]", schema)
    return _RecordedSchema(str(schema.get("title") or "answer"), schema)


class _RecordedSchema(JsonSchema):
    """The schema of a recorded request. Its run judged the answers, so any JSON is taken."""

    def validate_json(self, json_str: str) -> Any:
        return json.loads(json_str)
