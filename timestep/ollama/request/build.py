"""One model call as the body of ``POST /api/chat``, and how to read its answer. Pure.

Ollama has no ``tool_choice``, and a ``format`` keeps models from calling tools. So a request also
says by which rules its answer is read.
"""

from dataclasses import dataclass, replace
from typing import Any

from agents import AgentOutputSchemaBase, ModelSettings

from timestep.answer.history import (
    told_call,
    told_output,
    told_result,
    with_instructions,
)
from timestep.answer.rules import Reading, Rules
from timestep.answer.wire_request import WireRequest
from timestep.net.json_text import as_json
from timestep.ollama.request.grammar import FormatWriter, to_format
from timestep.ollama.request.messages import Conversation, Message
from timestep.ollama.request.options import RequestFields
from timestep.ollama.request.tools import (
    FunctionTool,
    any_of,
    calls_format,
    describe_tools,
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What is known about the endpoint and the model."""

    capabilities: frozenset[str] | None = None  # as `/api/show` lists them, if it could
    enforces_format: bool = True  # False for Ollama Cloud and MLX models, which ignore `format`
    context_length: int | None = None  # the longest window of the model in tokens, if known

    def lacks(self, capability: str) -> bool:
        """Return True when the model is known not to have *capability*."""
        return self.capabilities is not None and capability not in self.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest(WireRequest):
    """One request of ``POST /api/chat`` and the rules for its answer."""

    tools: tuple[FunctionTool, ...] = ()  # the functions the answer may call
    notes: tuple[str, ...] = ()  # what was left out by convention or changed, for the span
    left_out: tuple[str, ...] = ()  # constraints that the server refused, as `"code: pattern"`

    @property
    def traced(self) -> Json:
        """Return the facts for the span of the call."""
        facts: Json = {
            "think": self.body.get("think"),
            "repaired": self.rules.is_repair,
            "context_length": self.body.get("options", {}).get("num_ctx"),
        }
        if self.ignored or self.notes:
            facts["ignored"] = [*self.ignored, *self.notes]
        return facts


@dataclass(slots=True)
class _Draft:
    """A request under construction."""

    body: Json
    messages: list[Message]
    tools: list[FunctionTool]
    ignored: list[str]
    notes: list[str]
    instructions: list[str]
    must_call: bool
    reading: Reading = Reading.LIVE
    is_emulated: bool = False


def build_request(
    *,
    model: str,  # the name the server knows
    conversation: Conversation,  # from `build_conversation`
    fields: RequestFields,  # from `settings_to_fields`
    settings: ModelSettings,  # for `tool_choice` and `parallel_tool_calls`
    tools: list[FunctionTool],  # everything the agent offers, handoffs too
    output: AgentOutputSchemaBase | None,  # of a final answer; None for free text
    abilities: Abilities,  # of the model and its endpoint
    emulate_tools: bool,  # describe the tools in words when the model has no tool support
    rules: Rules,  # those of the model, of which the request decides the others
) -> ChatRequest:
    """Return the request for one model call.

    Raises:
        UnsupportedInputError: ``tool_choice`` names no tool of the agent.
    """
    if output is not None and output.is_plain_text():
        output = None
    rules = rules.chosen(settings, [tool.name for tool in tools])
    chosen = [tool for tool in tools if tool.name in rules.tools]
    draft = _Draft(
        body={"model": model, **fields.top_level},
        messages=conversation.messages,
        tools=chosen,
        ignored=[
            *conversation.ignored,
            *fields.ignored,
            *(phrase for tool in chosen for phrase in tool.ignored),
        ],
        notes=list(conversation.notes),
        instructions=[],
        must_call=rules.must_call,
    )
    if settings.tool_choice == "required" and not tools:
        draft.ignored.append("tool_choice='required' (the agent has no tools)")
    _drop_unusable_think(draft, abilities)
    if abilities.lacks("tools"):
        _tell_calls(draft)
    if draft.tools and emulate_tools and abilities.lacks("tools"):
        _emulate_tools(draft, output)
    elif draft.tools:
        _offer_tools(draft, output, abilities)
    elif output is not None:
        _ask_for_output(draft, output, abilities)
    if draft.instructions:
        draft.messages = with_instructions(draft.messages, "\n\n".join(draft.instructions))
    draft.body |= {"messages": draft.messages, "stream": True}
    if fields.options:
        draft.body["options"] = fields.options
    draft.body |= fields.extra_body
    return ChatRequest(
        body=draft.body,
        headers=fields.headers,
        rules=replace(
            rules,
            reading=draft.reading,
            must_call=draft.must_call,
            output=output,
            call_ids=conversation.call_ids,
            is_emulated=draft.is_emulated,
            token_limit=_token_limit(settings, fields),
        ),
        tools=tuple(draft.tools),
        ignored=tuple(dict.fromkeys(draft.ignored)),
        notes=tuple(dict.fromkeys(draft.notes)),
    )


def _token_limit(settings: ModelSettings, fields: RequestFields) -> str:
    """Return the setting that limits the answer, such as ``max_tokens=100``; empty without one."""
    limit = fields.options.get("num_predict")
    if not isinstance(limit, int) or limit < 0:  # Ollama's words for no limit
        return ""
    name = "max_tokens" if settings.max_tokens == limit else "num_predict"
    return f"{name}={limit}"


def _drop_unusable_think(draft: _Draft, abilities: Abilities) -> None:
    if draft.body.get("think") and abilities.lacks("thinking"):
        del draft.body["think"]
        draft.ignored.append("reasoning.effort (the model does not think)")


def _offer_tools(draft: _Draft, output: AgentOutputSchemaBase | None, abilities: Abilities) -> None:
    draft.body["tools"] = [tool.wire for tool in draft.tools]
    draft.notes += [tool.note for tool in draft.tools if tool.note]
    if draft.must_call and not abilities.enforces_format:
        draft.must_call = False
        draft.ignored.append("tool_choice (this endpoint cannot enforce it)")
    if draft.must_call:
        draft.body["format"] = calls_format(draft.tools).schema
        draft.reading = Reading.HELD
    elif output is not None:
        # A format would keep the model from calling tools, so the schema is only told.
        draft.instructions.append(told_output(output))
        draft.reading = Reading.HELD


def _ask_for_output(draft: _Draft, output: AgentOutputSchemaBase, abilities: Abilities) -> None:
    enforced = to_format(output.json_schema())
    draft.body["format"] = enforced.schema
    if enforced.losses or not abilities.enforces_format:
        draft.instructions.append(told_output(output))
    if not abilities.enforces_format:
        draft.reading = Reading.HELD


def _emulate_tools(draft: _Draft, output: AgentOutputSchemaBase | None) -> None:
    writer = FormatWriter()
    schemas = [tool.call_format(writer) for tool in draft.tools]
    draft.instructions.append(
        f"You can call these tools:\n{describe_tools(draft.tools)}\n"
        'To call one, answer only with {"name": "<tool>", "arguments": {…}}. '
        "Its result comes back to you. When you need no tool, answer only with "
        '{"answer": …}.'
    )
    if not draft.must_call:
        told = len(writer.losses)
        schemas.append(_answer_format(writer, output))
        if output is not None and len(writer.losses) > told:
            draft.instructions.append(
                f'The "answer" matches this JSON schema:\n{as_json(output.json_schema())}'
            )
    draft.body["format"] = writer.finish(any_of(schemas)).schema
    draft.is_emulated = True
    draft.reading = Reading.EMULATED if output is None and not draft.must_call else Reading.HELD
    draft.notes.append("tools are emulated: the model has no tool support")


def _answer_format(writer: FormatWriter, output: AgentOutputSchemaBase | None) -> Json:
    answer = {"type": "string"} if output is None else writer.add(output.json_schema())
    return {
        "type": "object",
        "properties": {"answer": answer},
        "required": ["answer"],
        "additionalProperties": False,
    }


def _tell_calls(draft: _Draft) -> None:
    """Put the history's calls and results into words: the template has no place for tools."""
    told = [_told(message) for message in draft.messages]
    if told != draft.messages:
        draft.messages = told
        draft.notes.append("calls and results are written as text: the model has no tool support")


def _told(message: Message) -> Message:
    """Return *message* with its calls or its result in words."""
    if message["role"] == "tool":
        content = told_result(message["tool_name"], message["content"])
        kept = {key: message[key] for key in ("images",) if key in message}
        return {"role": "user", "content": content, **kept}
    if "tool_calls" not in message:
        return message
    functions = (call["function"] for call in message["tool_calls"])
    calls = (told_call(function["name"], function["arguments"]) for function in functions)
    content = "\n".join(text for text in (message["content"], *calls) if text)
    return {**{k: v for k, v in message.items() if k != "tool_calls"}, "content": content}
