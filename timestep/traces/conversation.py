"""The input and answer of each model call, whichever API it used. Pure.

Recorded spans hold three formats: Ollama's messages, OpenAI's chat messages and the items
of OpenAI's Responses API.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from timestep.net.json_parts import entries, mapping
from timestep.net.json_text import as_json
from timestep.traces.calls import call_text, canonical_arguments, read_arguments
from timestep.traces.records import Span, Trace


@dataclass(frozen=True)
class Call:
    """A call that a model asks for; *arguments* are an object, or text that is not JSON."""

    name: str
    arguments: Any
    call_id: str | None = None

    def __str__(self) -> str:
        return call_text(self.name, self.arguments)


class Message(NamedTuple):
    """One message."""

    role: str  # `system`, `user`, `assistant`, `tool`, or the type of any other item
    text: str = ""  # what it says; of an unknown item, its JSON
    thinking: str = ""  # what the model thought before
    calls: tuple[Call, ...] = ()  # what the model wants called
    call_id: str | None = None  # of the call that a `tool` message answers
    name: str | None = None  # of the tool that a `tool` message comes from
    images: int = 0  # the number of its images


def asked(span: Span) -> list[Message]:
    """Return what a model was given, oldest first."""
    messages = read_messages(span.data.get("input"))
    instructions = span.data.get("instructions")
    if isinstance(instructions, str) and instructions:
        messages.insert(0, Message("system", instructions))
    return messages


def answered(span: Span) -> list[Message]:
    """Return what a model answered."""
    return read_messages(span.data.get("output"), role="assistant")


def question(given: Any) -> str:
    """Return what the user said last in the recorded *given*, after the model's last words."""
    new = unanswered(given)
    read = (
        map(_read, reversed(cast("list[Any]", new)))
        if isinstance(new, list)
        else [read_messages(new)]
    )
    users = (message for found in read for message in reversed(found) if message.role == "user")
    return next((message.text for message in users), "")


def unanswered(given: Any) -> Any:
    """Return the items of the recorded *given* after the model's last one; other values as they are."""
    if not isinstance(given, list):
        return given
    messages = cast("list[Any]", given)
    for index in range(len(messages) - 1, -1, -1):
        item = mapping(messages[index])
        if item.get("role") == "assistant" or item.get("type") in ("function_call", "reasoning"):
            return messages[index + 1 :]
    return messages


def results(trace: Trace) -> dict[str, Message]:
    """Return the result of every call of a run by call id: of tools, handoffs and errors."""
    return {
        message.call_id: message
        for span in trace.model_calls
        for message in asked(span)
        if message.role == "tool" and message.call_id
    }


def read_messages(value: Any, role: str = "user") -> list[Message]:
    """Return the messages in the recorded *value*; text alone gets the *role*."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Message(role, value)]
    if not isinstance(value, list):
        return [Message(role, as_json(value))]
    messages: list[Message] = []
    for item in cast("list[Any]", value):
        for message in _read(item, role):
            if messages and (whole := _joined(messages[-1], message)):
                messages[-1] = whole
            else:
                messages.append(message)
    return messages


def _read(item: Any, role: str = "user") -> list[Message]:
    if not isinstance(item, Mapping):
        return [Message(role, item if isinstance(item, str) else as_json(item))]
    fields = cast("Mapping[str, Any]", item)
    if isinstance(fields.get("output"), list) and fields.get("object") == "response":
        return read_messages(fields["output"], role)
    match fields.get("type"):
        case "function_call":
            return [Message("assistant", calls=(_call(fields, fields.get("call_id")),))]
        case "function_call_output":
            text, images = _text(fields.get("output"))
            return [Message("tool", text, call_id=_known(fields.get("call_id")), images=images)]
        case "reasoning":
            parts = [*entries(fields.get("summary")), *entries(fields.get("content"))]
            return [Message("assistant", thinking=_text(parts)[0])]
        case None | "message":
            return [_message(fields, role)]
        case other:
            return [Message(str(other), as_json(fields))]


def _message(fields: Mapping[str, Any], role: str) -> Message:
    text, images = _text(fields.get("content"))
    thinking = fields.get("thinking") or fields.get("reasoning_content") or fields.get("reasoning")
    said_by = str(fields.get("role") or role)
    return Message(
        role="system" if said_by == "developer" else said_by,
        text=text or str(fields.get("refusal") or ""),
        thinking=thinking if isinstance(thinking, str) else "",
        calls=tuple(
            _call(mapping(call.get("function")), call.get("id"))
            for call in map(mapping, entries(fields.get("tool_calls")))
        ),
        call_id=_known(fields.get("tool_call_id")),
        name=_known(fields.get("tool_name") or fields.get("name")),
        images=images + len(entries(fields.get("images"))),
    )


def _call(function: Mapping[str, Any], call_id: object) -> Call:
    arguments = read_arguments(function.get("arguments"))
    return Call(str(function.get("name")), arguments, _known(call_id))


def _known(name: object) -> str | None:
    return name if isinstance(name, str) else None


def _text(content: Any) -> tuple[str, int]:
    """Return the text of *content* and the number of images in it."""
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        return as_json(content), 0
    texts: list[str] = []
    images = 0
    for part in cast("list[Any]", content):
        fields = mapping(part) or {"text": part}
        if "image" in str(fields.get("type")):
            images += 1
        else:
            said = fields.get("text", fields.get("refusal"))
            texts.append(said if isinstance(said, str) else as_json(part))
    return "".join(texts), images


def _joined(message: Message, following: Message) -> Message | None:
    """Return both as one, if they are of the same answer: thinking, then text, then calls."""
    has_ended = message.text or message.calls or (following.thinking and message.thinking)
    if (message.role, following.role) != ("assistant", "assistant") or (
        has_ended and (following.thinking or following.text)
    ):
        return None
    return message._replace(
        text=message.text + following.text,
        thinking=message.thinking + following.thinking,
        calls=message.calls + following.calls,
    )


def final_answer(trace: Trace) -> str:
    """Return the text of the last answer without calls, or an empty text."""
    for span in reversed(trace.model_calls):
        for message in reversed(answered(span)):
            if message.text and not message.calls:
                return message.text
    return ""


def conversation(trace: Trace) -> Sequence[tuple[Span, Sequence[Message]]]:
    """Return every model call of a run with its new messages and its answer.

    Tasks, which may run side by side, tell their models different things: new is what a task's
    last call was not told.
    """
    told: dict[str | None, list[Message]] = {}
    steps: list[tuple[Span, Sequence[Message]]] = []
    for span in trace.model_calls:
        given, answer = asked(span), answered(span)
        task = trace.around(span, "task")
        key = None if task is None else task.span_id
        steps.append((span, (*_new(given, told.get(key, [])), *answer)))
        told[key] = [*given, *answer]
    return steps


def tool_spans(trace: Trace) -> dict[str, Span]:
    """Return the tool's span of every call of a run by call id.

    A span does not have the id of its call, so it is found by its task, its name and its arguments.
    """
    waiting: dict[tuple[str, str, str], deque[Span]] = {}
    for span in trace.tool_calls:
        waiting.setdefault(_call_key(trace, span, span.name, span.arguments), deque()).append(span)
    found: dict[str, Span] = {}
    for span in trace.model_calls:
        for call in (call for message in answered(span) for call in message.calls):
            spans = waiting.get(_call_key(trace, span, call.name, call.arguments))
            if spans and call.call_id:
                found[call.call_id] = spans.popleft()
    return found


def _call_key(trace: Trace, span: Span, name: str, arguments: Any) -> tuple[str, str, str]:
    task = trace.around(span, "task")
    return "" if task is None else task.span_id, name, canonical_arguments(arguments)


def _new(given: list[Message], told: list[Message]) -> list[Message]:
    """Return the messages of *given* that *told* does not have in the same order."""
    new: list[Message] = []
    position = 0
    for message in given:
        known = (at for at in range(position, len(told)) if _same(told[at], message))
        if (found := next(known, None)) is None:
            new.append(message)
        else:
            position = found + 1
    return new


def _same(message: Message, other: Message) -> bool:
    """Return True for the same message in two requests: thinking is not always sent again."""
    return (message.role, message.text, message.calls) == (other.role, other.text, other.calls)
