"""Input items of the Responses API as Ollama messages. Pure.

- One assistant turn is one message: thinking, text and every tool call together, because servers
  lose calls from the second of two assistant messages.
- Instructions and the system items before any other message are one system message, because some
  models drop the second. A later one stays where it is.
- A tool result carries the name and the id of its call. A result without its call, or a call
  without its result, is sent as text in its place, because servers refuse half a pair.

Source: openai ``types/responses/response_input_item_param.py`` (3.52), ollama ``api/types.go``
(``Message``) v0.33.0.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from timestep.answer.history import (
    CALL_ALONE,
    RESULT_ALONE,
    Pairs,
    told_alone,
    told_item,
    told_result,
    work_of,
)
from timestep.errors import UnsupportedInputError
from timestep.ollama.request.content import (
    Fetched,
    Item,
    Medium,
    as_items,
    as_parts,
    decode_arguments,
    is_object,
    is_part,
    mappings,
    read_content,
    text_of,
    to_json,
)

Message = dict[str, Any]

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, ready for the request body."""

    messages: list[Message]  # oldest first
    call_ids: frozenset[str]  # every call id of the history; a new call must not reuse one
    media: frozenset[str]  # the capabilities that its images and audio need: `vision`, `audio`
    ignored: tuple[str, ...] = ()  # what could not be sent as it is, one phrase each, for a warning
    notes: tuple[str, ...] = ()  # what was left out by convention, one phrase each, for the span


def build_conversation(
    items: str | Sequence[Any],  # oldest first; items of any other model are fine
    *,
    model: str,  # reasoning is replayed only when this model wrote it
    instructions: str | None = None,  # the system prompt
    fetched: Fetched | None = None,  # the bytes of remote images by URL, where those are allowed
) -> Conversation:
    """Return the conversation that *items* describe, *instructions* first.

    Raises:
        UnsupportedInputError: An item holds what no Ollama model takes; the message names its place.
    """
    builder = _Builder(model, fetched or {})
    if instructions:
        builder.turns.system(instructions, [])
    for index, item in enumerate(as_items(items)):
        builder.add(item, index)
    return builder.finish()


_Call = tuple[Message, Message]
"""A call, with its turn before it."""


class _Turns:
    """The messages so far, with everything of one assistant turn in one of them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.media: set[str] = set()
        self.turn: Message | None = None

    def assistant(self) -> Message:
        """Return the message of the current assistant turn."""
        if self.turn is None:
            self.turn = {"role": "assistant", "content": ""}
            self.messages.append(self.turn)
        return self.turn

    def say(self, text: str) -> None:
        """Add *text* to the current assistant turn."""
        turn = self.assistant()
        turn["content"] = f"{turn['content']}\n\n{text}" if turn["content"] else text

    def append(self, message: Message, media: list[Medium]) -> None:
        """Add a message that ends the assistant turn."""
        if media:
            message["images"] = [data for _, data in media]
            self.media.update(capability for capability, _ in media)
        self.turn = None
        self.messages.append(message)

    def system(self, text: str, media: list[Medium]) -> None:
        """Add a system message, or add to the one that stands before everything else."""
        if len(self.messages) == 1 and self.messages[0]["role"] == "system" and not media:
            head = self.messages[0]
            head["content"] = "\n\n".join(filter(None, (head["content"], text)))
        else:
            self.append({"role": "system", "content": text}, media)


class _Builder:
    """Converts the items of one history, in their order."""

    def __init__(self, model: str, fetched: Fetched) -> None:
        self.model = model
        self.fetched = fetched
        self.turns = _Turns()
        self.pairs: Pairs[_Call] = Pairs()
        self.ignored: list[str] = []
        self.notes: list[str] = []

    def add(self, item: Item, index: int) -> None:
        kind = item.get("type")
        if kind is None:
            is_reference = "id" in item and item.keys() <= {"id", "type"}
            kind = "item_reference" if is_reference else "message"
        if not isinstance(kind, str):
            raise UnsupportedInputError(f"input[{index}] has the type {kind!r}, which is not text.")
        convert = _CONVERTERS.get(kind)
        if convert is not None:
            convert(self, item, index)
        elif kind.endswith("_call_output"):
            self.result(item, index)
        elif kind.endswith("_call") and item.get("call_id"):
            self._call(item, index, kind.removesuffix("_call"), work_of(item))
        else:
            self.hosted(item, index)

    def finish(self) -> Conversation:
        messages = self.turns.messages
        for turn, call in self.pairs.alone():
            self.ignored.append(CALL_ALONE)
            _tell_call(turn, call)
        if not messages:
            raise UnsupportedInputError(
                "The input holds nothing to send: Ollama would load the model and not answer. "
                "Add some text."
            )
        if not any(message["role"] in {"user", "tool"} for message in messages):
            # A nested handoff leaves only assistant text; as the last message it would be
            # continued like a prefill, and many templates refuse a chat without a user.
            last = messages[-1]
            if last["role"] == "assistant" and "tool_calls" not in last:
                last["role"] = "user"
                last.pop("thinking", None)
        return Conversation(
            messages,
            frozenset(self.pairs.names),
            frozenset(self.turns.media),
            tuple(dict.fromkeys(self.ignored)),
            tuple(dict.fromkeys(self.notes)),
        )

    def message(self, item: Item, index: int) -> None:
        role = item.get("role")
        wire_role = _ROLES.get(role) if isinstance(role, str) else None
        if wire_role is None:
            raise UnsupportedInputError(
                f"input[{index}] has the role {role!r}; use user, assistant, system or developer."
            )
        content = item.get("content")
        if wire_role == "assistant":
            text, media = read_content(content, index, "content", self.fetched, joint="")
            if media:
                self.ignored.append("images in assistant messages")
            self.turns.assistant()
            if text:
                self.turns.say(text)
        else:
            text, media = read_content(content, index, "content", self.fetched)
            if wire_role == "system":
                self.turns.system(text, media)
            else:
                self.turns.append({"role": wire_role, "content": text}, media)

    def reasoning(self, item: Item, index: int) -> None:
        origin = item.get("provider_data")
        if not is_object(origin) or origin.get("model") != self.model:
            self.notes.append("reasoning of another model is not replayed")
            return
        parts = mappings(item.get("content")) or mappings(item.get("summary"))
        text = "".join(map(text_of, parts))
        if text:
            turn = self.turns.assistant()
            turn["thinking"] = f"{turn['thinking']}\n\n{text}" if "thinking" in turn else text

    def function_call(self, item: Item, index: int) -> None:
        self._call(item, index, item.get("name"), item.get("arguments"))

    def custom_call(self, item: Item, index: int) -> None:
        self._call(item, index, item.get("name"), {"input": item.get("input")})

    def _call(self, item: Item, index: int, name: Any, arguments: Any) -> None:
        call_id = item.get("call_id")
        if not isinstance(call_id, str) or not isinstance(name, str) or not call_id or not name:
            raise UnsupportedInputError(
                f"input[{index}] is a tool call with the call_id {call_id!r} and the name {name!r}; "
                "both must be text."
            )
        turn = self.turns.assistant()
        calls = turn.setdefault("tool_calls", [])
        function = {"index": len(calls), "name": name, "arguments": decode_arguments(arguments)}
        call = {"id": call_id, "function": function}
        calls.append(call)
        self.pairs.add_call(call_id, name, (turn, call))

    def result(self, item: Item, index: int) -> None:
        call_id = _known_id(item, self.pairs.names)
        output = item.get("output")
        if output is None:  # such as a patch of which only the status is known
            output = {"status": item["status"]} if item.get("status") else ""
        if not isinstance(output, str):
            parts = as_parts(output)
            if not parts or not all(map(is_part, parts)):
                output = to_json(output, f"input[{index}].output")
        text, media = read_content(output, index, "output", self.fetched)
        name = self.pairs.called(call_id)
        if call_id is None or not self.pairs.add_result(call_id):
            self.ignored.append(RESULT_ALONE)
            self.turns.append({"role": "user", "content": told_result(name, text)}, media)
            return
        self.turns.append(
            {"role": "tool", "content": text, "tool_name": name, "tool_call_id": call_id}, media
        )

    def hosted(self, item: Item, index: int) -> None:
        """Put the item of a hosted tool into words, because the model never made this call."""
        try:
            self.turns.say(told_item(item))
        except (TypeError, ValueError, RecursionError) as exc:
            raise UnsupportedInputError(
                f"input[{index}] cannot be written as JSON: {exc}."
            ) from exc

    def drawing(self, item: Item, index: int) -> None:
        if item.get("result"):
            self.ignored.append("the image of image_generation_call")
        self.hosted({key: value for key, value in item.items() if key != "result"}, index)

    def foreign(self, item: Item, index: int) -> None:
        self.ignored.append(f"{item.get('type') or 'item_reference'} (only OpenAI can use it)")

    def listing(self, item: Item, index: int) -> None:
        self.notes.append(f"{item.get('type')} means nothing to the model")


def _tell_call(turn: Message, call: Message) -> None:
    """Put *call* of *turn*, which has no result, into words."""
    others = [other for other in turn["tool_calls"] if other is not call]
    for index, other in enumerate(others):
        other["function"]["index"] = index
    turn["tool_calls"] = others
    if not others:
        del turn["tool_calls"]
    words = told_alone(call["function"]["name"], call["function"]["arguments"])
    turn["content"] = "\n\n".join(filter(None, (turn["content"], words)))


def _known_id(item: Item, names: Container[str]) -> str | None:
    """Return the id of the call in *names* that *item* is the result of."""
    for key in ("call_id", "id"):  # OpenAI's API names the call of a local shell's output by "id"
        call_id = item.get(key)
        if isinstance(call_id, str) and call_id in names:
            return call_id
    return None


_CONVERTERS: dict[str, Callable[[_Builder, Item, int], None]] = {
    "message": _Builder.message,
    "reasoning": _Builder.reasoning,
    "function_call": _Builder.function_call,
    "custom_tool_call": _Builder.custom_call,
    "tool_search_call": _Builder.hosted,
    "image_generation_call": _Builder.drawing,
    # Tools that only OpenAI runs; their definitions may hold its keys for other servers.
    "additional_tools": _Builder.foreign,
    "tool_search_output": _Builder.listing,
    "mcp_list_tools": _Builder.listing,
    "compaction": _Builder.foreign,
    "compaction_trigger": _Builder.foreign,
    "configuration_update": _Builder.foreign,
    "item_reference": _Builder.foreign,
}
