"""Prepares the history for the SDK's converter, which would refuse or lose some of it. Pure.

Three things happen to the items of a history, then one to the messages they become:

1. An assistant message without an id, and a message with other keys, become plain messages.
2. The items of hosted tools become plain text, and so do a result without its call and a call without
   its result, which servers refuse.
3. Calls of custom tools become calls of functions.
4. What a model wants back with a call, such as a signature, is put into its message. Another model
   does not get it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from timestep.answer.history import (
    CALL_ALONE,
    RESULT_ALONE,
    Pairs,
    told_alone,
    told_item,
    told_result,
)
from timestep.answer.items import REASONING_FIELD
from timestep.errors import UnsupportedInputError
from timestep.net.json_text import as_json

Item: TypeAlias = dict[str, Any]

_CUSTOM = {"custom_tool_call": "function_call", "custom_tool_call_output": "function_call_output"}
_UNDERSTOOD = {
    "compaction",
    "file_search_call",
    "function_call",
    "function_call_output",
    "item_reference",
    "message",
    "reasoning",
}
"""The types that the SDK's converter takes, or refuses with its own error."""
_TEXT_PARTS = {"input_text", "output_text", "text"}
_CALLS = ("function_call", "function_call_output")
_ROLES = ("user", "assistant", "system", "developer")
_TEXT_FIELDS = (
    "type",
    "text",
    "refusal",
    "image_url",
    "detail",
    "file_id",
    "file_data",
    "file_url",
    "filename",
)
"""Fields of a content part that are text, or left out."""
_EXTRAS = ("extra_content", "reasoning_details")

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS = 9


class History:
    """A history ready for the converter."""

    def __init__(self, items: str | Sequence[Any], model: str) -> None:
        self._model = model
        self.ignored: list[str] = []  # what could not be sent as it was, a phrase each
        self.items: str | list[Item]  # for the converter
        self._extras: dict[str, Mapping[str, Any]] = {}
        if isinstance(items, str):
            self.items, self.call_ids = items, frozenset[str]()
            return
        plain = [_as_item(item, index) for index, item in enumerate(items)]
        pairs = Pairs[int]()
        self._alone = set[int]()
        for place, item in enumerate(plain):
            if item.get("type") == "function_call":
                pairs.add_call(_call_id(item), str(item.get("name")), place)
            elif item.get("type") == "function_call_output" and not pairs.add_result(
                _call_id(item)
            ):
                self._alone.add(place)
        self._alone.update(pairs.alone())
        self._pairs = pairs
        self.call_ids = frozenset(pairs.names)  # the call ids of the history
        self.items = [ready for at, item in enumerate(plain) for ready in self._ready(item, at)]

    def with_extras(self, messages: list[Item]) -> list[Item]:
        """Return *messages* with what the server wants back with its calls."""
        if not self._extras:
            return messages
        for message in messages:
            calls: list[Item] = message.get("tool_calls") or []
            for call in calls:
                extra = self._extras.get(str(call.get("id")), {})
                if "extra_content" in extra:
                    call["extra_content"] = extra["extra_content"]
                if "reasoning_details" in extra:
                    message["reasoning_details"] = extra["reasoning_details"]
        return messages

    def _ready(self, item: Item, place: int) -> Iterator[Item]:
        kind = item.get("type") or ("message" if "role" in item else "item_reference")
        match kind:
            case "message":
                yield _message(item)
            case "function_call" if place in self._alone:
                self.ignored.append(CALL_ALONE)
                words = told_alone(str(item.get("name")), item.get("arguments"))
                yield {"role": "assistant", "content": words}
            case "function_call":
                self._keep_extras(item)
                yield item
            case "function_call_output" if place in self._alone:
                self.ignored.append(RESULT_ALONE)
                name = self._pairs.called(_call_id(item))
                yield {"role": "user", "content": told_result(name, _text(item.get("output")))}
            case "function_call_output" if item.get("output") is None:
                yield {**item, "output": ""}
            case "reasoning":
                yield _reasoning(item)
            case _ if kind in _UNDERSTOOD:
                yield item
            case _:
                yield {"role": "assistant", "content": told_item(item)}

    def _keep_extras(self, item: Item) -> None:
        data = item.get("provider_data")
        if isinstance(data, Mapping):
            found = cast("Mapping[str, Any]", data)
            if found.get("model", self._model) != self._model:
                return
            if extras := {name: found[name] for name in _EXTRAS if name in found}:
                self._extras[_call_id(item)] = extras


def _call_id(item: Item) -> str:
    return str(item.get("call_id"))


def _as_item(item: Any, index: int) -> Item:
    if not isinstance(item, BaseModel | Mapping):
        raise UnsupportedInputError(f"input[{index}] is {type(item).__name__}, not an item.")
    plain = _as_dict(item)
    _check(plain, f"input[{index}]")
    return plain


def _check(item: Item, place: str) -> None:
    """Refuse what the converter would send in a wrong shape, or refuse in words that do not help."""
    _check_text(item, ("type",), place)
    kind = item.get("type") or ("message" if "role" in item or "content" in item else "")
    if kind == "message" and item.get("role") not in _ROLES:
        raise UnsupportedInputError(
            f"{place} has no role that a message can have. Give it one of {', '.join(_ROLES)}."
        )
    if kind in _CALLS:
        _check_text(item, ("name", "arguments", "call_id"), place)
    for name in ("content", "output") if kind in _CALLS else ("content",):
        value = item.get(name)
        if isinstance(value, list | tuple):
            for index, part in enumerate(cast("Sequence[Any]", value)):
                if isinstance(part, Mapping):
                    _check_part(cast("Item", part), f"{place}.{name}[{index}]")
        elif value is not None and not isinstance(value, str):
            kind_of_value = type(cast("object", value)).__name__
            raise UnsupportedInputError(
                f"{place}.{name} is {kind_of_value}, not text or a list of parts."
            )


def _check_part(part: Item, place: str) -> None:
    url = part.get("image_url")
    if part.get("type") == "image_url" and isinstance(url, Mapping):  # as chat completions have it
        _check_text(cast("Item", url), ("url", "detail"), f"{place}.image_url")
        part = {name: value for name, value in part.items() if name != "image_url"}
    _check_text(part, _TEXT_FIELDS, place)


def _check_text(fields: Item, names: Iterable[str], place: str) -> None:
    for name in names:
        if (value := fields.get(name)) is not None and not isinstance(value, str):
            raise UnsupportedInputError(f"{place}.{name} is {type(value).__name__}, not text.")


def _as_dict(item: Any) -> Item:
    """Return a copy of *item* as a dict; a custom tool's item becomes a function's."""
    plain: Item = item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else dict(item)
    kind = str(plain.get("type"))
    if kind in _CUSTOM:
        plain["type"] = _CUSTOM[kind]
        if "input" in plain:
            plain["arguments"] = as_json({"input": plain.pop("input")})
    return plain


def _message(item: Item) -> Item:
    content = item.get("content")
    if isinstance(content, list | tuple):
        content = [_part(part) for part in cast("Sequence[Any]", content)]
    if item.get("role") == "assistant" and isinstance(content, list):
        parts = [_output_part(part) for part in cast("list[Item]", content)]
        return {
            "id": item.get("id") or "msg",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": parts,
        }
    return {"role": item.get("role"), "content": "" if content is None else content}


def _reasoning(item: Item) -> Item:
    """Return *item* with its text in the summary too, where the converter looks for DeepSeek's."""
    content, data = item.get("content"), item.get("provider_data")
    has_field = isinstance(data, Mapping) and REASONING_FIELD in data
    if has_field or item.get("summary") or not isinstance(content, list | tuple):
        return item
    parts = [_part(part) for part in cast("Sequence[Any]", content)]
    texts = [part.get("text") for part in parts if part.get("type") == "reasoning_text"]
    return {**item, "content": parts, "summary": [{"text": text} for text in texts if text]}


def _part(part: Any) -> Item:
    """Return *part* of a message as a dict; bare text becomes a part of text."""
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    if not isinstance(part, BaseModel | Mapping):
        raise UnsupportedInputError(f"A content part is {type(part).__name__}, not an object.")
    plain = _as_dict(part)
    if plain.get("type") in _TEXT_PARTS and plain.get("text") is None:
        plain["text"] = ""
    return plain


def _output_part(part: Item) -> Item:
    if part.get("type") in {"input_text", "text"}:
        return {"type": "output_text", "text": part.get("text") or "", "annotations": []}
    return part


def _text(output: object) -> str:
    """Return the *output* of a tool as text."""
    if output is None or isinstance(output, str):
        return output or ""
    if not isinstance(output, list | tuple):
        return str(output)
    parts = [_part(part) for part in cast("Sequence[Any]", output)]
    return "\n".join(str(part.get("text") or f"[{part.get('type')}]") for part in parts)


def short_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *messages* with call ids of nine letters and digits, the only ones that Mistral takes.

    Equal ids stay equal, and ids that have this form already stay as they are.
    """
    short: list[dict[str, Any]] = []
    for message in messages:
        own = dict(message)
        if "tool_call_id" in own:
            own["tool_call_id"] = short_id(own["tool_call_id"])
        if calls := own.get("tool_calls"):
            own["tool_calls"] = [{**call, "id": short_id(call["id"])} for call in calls]
        short.append(own)
    return short


def short_id(call_id: str) -> str:
    """Return *call_id* as nine letters and digits."""
    if _NINE.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:_LETTERS]
