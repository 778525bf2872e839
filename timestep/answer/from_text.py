"""Reads JSON, tool calls and structured output from text. Pure."""

import re
from collections.abc import Collection
from dataclasses import replace
from inspect import isclass
from types import GenericAlias
from typing import Any, cast

from agents import AgentOutputSchema, AgentOutputSchemaBase
from agents.exceptions import ModelBehaviorError
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from timestep.answer.chunks import SPELLINGS, Call
from timestep.net.limits import MOST_CALLS

_SHOWN_PROBLEMS = 5
_SEPARATORS = " \t\r\n;"
_TAGS = r"(tool_?call|function_call|tools)"
_OPENING_TAG = re.compile(rf"[\s;]*<\|?{_TAGS}\|?>")
# A string runs to its quote or to the end, so that no text is read twice.
_STRING = r'"(?>(?:[^"\\]+|\\.?)*)"?'
_STRING_OR_CLOSING_TAG = re.compile(rf"{_STRING}|<\|?/{_TAGS}\|?>", re.DOTALL)
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_DEPTHS = {"{": 1, "[": 1, "}": -1, "]": -1}
_OPENERS = re.compile(
    r"\A(?:<\|python_tag\|>|\[TOOL_CALLS\])|(?:<\|eom_id\|>|<\|eot_id\|>|<\|im_end\|>|</s>)\Z"
)
_BEGUN = re.compile(
    r"""\A[^{"]*\{\s*
    (?:"(?:id|type)"\s*:\s*"[^"\\]*"\s*,\s*)*
    (?:"function"\s*:\s*\{\s*(?:"id"\s*:\s*"[^"\\]*"\s*,\s*)?)?
    "name"\s*:\s*"([^"\\]*)\"""",
    re.VERBOSE,
)

CALL_BEGINNINGS = (
    *("{", "[", "```", "<|python_tag|>"),
    *("<tool_call>", "<toolcall>", "<function_call>", "<tools>", "<|tool_call|>"),
)
"""The beginning of a text that may be calls."""


class Mismatch(Exception):  # noqa: N818 - an answer, not a failure: it is asked for again
    """A text is not what was asked for. The message tells the model what is wrong."""

    def __init__(self, message: str, *, is_near: bool = False) -> None:
        super().__init__(message)
        self.is_near = is_near  # True if it is a badly written call to a tool


def read_call(text: str, tools: Collection[str]) -> Call:
    """Return the call in *text*, which is one JSON object, bare or in a fence."""
    value = read_json(text)
    if value is None and _holds_nan(text):
        raise Mismatch("it holds NaN or Infinity, which JSON does not have")
    if value is None:
        _refuse_half_call(text, tools)
    return _call(value, tools)


def read_calls(text: str, tools: Collection[str]) -> list[Call]:
    """Return the calls in *text*, as JSON: one, a list, or several on lines or between ``;``.

    They may stand in a fence or in models' tags. The end of the text closes the last tag.
    """
    stripped = _OPENERS.sub("", text.strip())
    if tagged := _in_tags(stripped):
        values = [value for inside in tagged for value in _values(inside)]
    else:
        values = _values(stripped)
    if not values:
        raise Mismatch("it holds no call")
    if None in values:
        _refuse_half_call(text, tools)
    if len(values) > MOST_CALLS:
        raise Mismatch(f"it holds more than {MOST_CALLS:,} calls")
    return [_call(value, tools) for value in values]


def _refuse_half_call(text: str, tools: Collection[str]) -> None:
    depth = sum(_DEPTHS.get(found[0], 0) for found in _STRING_OR_BRACKET.finditer(text))
    if depth > 0 and begun_call(text, tools):
        raise Mismatch("its JSON ends too early", is_near=True)


def _in_tags(text: str) -> list[str]:
    """Return the contents of the tags in *text*; nothing if there is text outside them.

    The end of the text closes the last tag, because some servers cut it off.
    """
    inside: list[str] = []
    at = 0
    while opening := _OPENING_TAG.match(text, at):
        found = _STRING_OR_CLOSING_TAG.finditer(text, opening.end())
        closing = next((each for each in found if each[1]), None)
        if closing is None:
            return [*inside, text[opening.end() :]]
        if closing[1] != opening[1]:
            return []
        inside.append(text[opening.end() : closing.start()])
        at = closing.end()
    return inside if not text[at:].strip(_SEPARATORS) else []


def _values(text: str) -> list[Any]:
    """Return the JSON values in *text*; one None if there is anything else in it."""
    # Arguments may hold fences too, so a fence comes off only when nothing else works.
    parts = _split(text) or _split(unfence(text))
    values = [read_json(part) for part in parts[: MOST_CALLS + 1]] or [read_json(text)]
    only = values[0] if len(values) == 1 else None
    return cast("list[Any]", only) if isinstance(only, list) else values


def _split(text: str) -> list[str]:
    """Return the objects and lists in *text*; nothing if anything else is between them."""
    parts: list[str] = []
    start = end = depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if depth == 0:
            if found[0] not in "{[" or text[end : found.start()].strip(_SEPARATORS):
                return []
            start = found.start()
        depth += _DEPTHS.get(found[0], 0)
        if depth == 0:
            end = found.end()
            parts.append(text[start:end])
    return parts if depth == 0 and not text[end:].strip(_SEPARATORS) else []


def _call(value: Any, tools: Collection[str]) -> Call:
    if not isinstance(value, dict):
        raise Mismatch("it is not one JSON object with name and arguments")
    fields = cast("dict[str, Any]", value)
    function = fields.get("function")
    if fields.get("type") == "function" and "name" not in fields and isinstance(function, dict):
        return _wrapped_call(fields, cast("dict[str, Any]", function), tools)
    return _bare_call(fields, tools)


def _wrapped_call(fields: dict[str, Any], function: dict[str, Any], tools: Collection[str]) -> Call:
    """Return the call in *fields*, which have the form of OpenAI's chat completions."""
    texts = {
        key: _arguments_in(function[key]) for key in SPELLINGS if isinstance(function.get(key), str)
    }
    call = _bare_call({**function, **texts}, tools)
    _refuse_unknown(fields.keys() - {"type", "function", "id"})
    return replace(call, call_id=fields.get("id", call.call_id))


def _arguments_in(text: str) -> Any:
    """Return the arguments in the JSON *text*, or *text* if it is not JSON."""
    if text.strip() in {"", "null"}:
        return None
    value = read_json(text)
    return text if value is None else value


def _bare_call(fields: dict[str, Any], tools: Collection[str]) -> Call:
    name = fields.get("name")
    known = declared_name(name, tools) if isinstance(name, str) else None
    if known not in tools:
        raise Mismatch(f"its name is not one of {', '.join(tools)}")
    # Never use a tool's defaults for arguments that stand under another key.
    others = {key for key in fields if (key, fields[key]) != ("type", "function")} - {"name"}
    call_id = None
    if others.intersection(SPELLINGS):  # without arguments an "id" may be one of them
        call_id = fields.get("id")
        others.discard("id")
    _refuse_unknown(others.difference(SPELLINGS) or (others if len(others) > 1 else set()))
    arguments: object = fields[others.pop()] if others else None
    if arguments is not None and not isinstance(arguments, dict):
        raise Mismatch("its arguments are not a JSON object", is_near=True)
    return Call(known, cast("dict[str, Any]", arguments or {}), call_id)


def _refuse_unknown(keys: Collection[str]) -> None:
    if keys:
        named = ", ".join(map(repr, sorted(keys)))
        raise Mismatch(f"the arguments belong under 'arguments', not under {named}", is_near=True)


def is_shaped_like_a_call(text: str, tools: Collection[str]) -> bool:
    """Return True if *text* is JSON that names one of *tools* and has arguments.

    ``{"tool": "search", "args": {}}`` and ``{"search": {}}`` mean a call; ``{"city": "Oslo"}`` is an
    answer.
    """
    value = read_json(text)
    if not isinstance(value, dict):
        return False
    fields = cast("dict[str, Any]", value)
    names_a_tool = any(isinstance(said, str) and said in tools for said in fields.values())
    objects = [key for key, said in fields.items() if isinstance(said, dict)]
    return any(key in tools for key in objects) or (names_a_tool and bool(objects))


def begun_call(text: str, tools: Collection[str]) -> str | None:
    """Return the one of *tools* that *text*, the beginning of a call, names, or None."""
    begun = _BEGUN.match(text) if text.lstrip().startswith(CALL_BEGINNINGS) else None
    try:
        name = declared_name(begun[1], tools) if begun else None
    except Mismatch:
        return None
    return name if name in tools else None


def declared_name(name: str, tools: Collection[str]) -> str:
    """Return the one of *tools* that *name* means, or *name* if it means no tool.

    Models leak their own tokens into a name: ``search<|channel|>commentary``,
    ``functions.search`` and `` search`` mean ``search``.
    """
    if name in tools:
        return name
    bare = name.partition("<|")[0].strip()
    meant = sorted({bare, bare.removeprefix("functions.")}.intersection(tools))
    if len(meant) > 1:
        raise Mismatch(f"the name {name!r} may mean {' or '.join(meant)}", is_near=True)
    return meant[0] if meant else name


def read_output(text: str, output: AgentOutputSchemaBase) -> str:
    """Return the JSON in *text* that matches *output*, without its fence."""
    # Only JSON is validated: the SDK notes every failed validation on the span.
    found = json_in(text)
    if found is None:
        raise Mismatch(
            "it holds NaN or Infinity, which JSON does not have"
            if _holds_nan(text)
            else "it is not JSON"
        )
    try:
        output.validate_json(found)
    except ModelBehaviorError as exc:
        cause = exc.__cause__ or _validation_error(found, output) or exc
        raise Mismatch(_words(cause)) from cause
    except NotImplementedError:
        pass  # the schema of a durable engine cannot validate, so any JSON will do
    return found


def _validation_error(text: str, output: AgentOutputSchemaBase) -> ValidationError | None:
    """Return pydantic's error for *text*. The SDK hides it unless it may log data."""
    if not isinstance(output, AgentOutputSchema):
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(_shape(output.output_type))
    try:
        adapter.validate_json(text, strict=True if output.is_strict_json_schema() else None)
    except ValidationError as exc:
        return exc
    return None


def _shape(wanted: Any) -> Any:
    """Return the type of the JSON for *wanted*. The SDK wraps all types but models and dicts."""
    if isclass(wanted) and issubclass(wanted, BaseModel | dict):
        return cast("object", wanted)
    return GenericAlias(dict, (str, wanted))


def _words(cause: BaseException) -> str:
    if not isinstance(cause, ValidationError):
        return str(cause).rstrip(".")
    problems = cause.errors(include_url=False, include_input=False, include_context=False)
    told = [
        ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"])))
        for each in problems[:_SHOWN_PROBLEMS]
    ]
    more = len(problems) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)


def read_json(text: str) -> Any:
    """Return the value of the JSON in *text*, or None."""
    found = json_in(text)
    return None if found is None else from_json(found)


def json_in(text: str) -> str | None:
    """Return the JSON in *text*, bare or in a Markdown fence, or None."""
    # JSON may contain a fence too, so the fence comes off only when nothing else works.
    for candidate in (text, unfence(text)):
        try:
            from_json(candidate, allow_inf_nan=False)
        except (TypeError, ValueError):  # TypeError for half a surrogate pair
            continue
        return candidate
    return None


def _holds_nan(text: str) -> bool:
    """Return True if *text* would be JSON without its NaN and Infinity."""
    try:
        from_json(unfence(text), allow_inf_nan=True)
    except (TypeError, ValueError):
        return False
    return json_in(text) is None


def unfence(text: str) -> str:
    """Return the content of the one Markdown fence in *text*, or *text* trimmed."""
    stripped = text.strip()
    opening = stripped.find("```")
    closing = stripped.rfind("```")
    if opening == -1 or closing <= opening:
        return stripped
    inside = stripped[opening + 3 : closing]
    language, newline, rest = inside.partition("\n")
    return (rest if newline and language.strip().replace("_", "").isalnum() else inside).strip()
