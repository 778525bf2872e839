"""What is written in a text: JSON, calls to tools, an output that matches a schema. Pure."""

import re
from collections.abc import Collection
from inspect import isclass
from types import GenericAlias
from typing import Any, cast

from agents import AgentOutputSchema, AgentOutputSchemaBase
from agents.exceptions import ModelBehaviorError
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from timestep.answer.chunks import Call
from timestep.net.limits import MOST_CALLS

_SHOWN_PROBLEMS = 5
_SPELLINGS = {"arguments", "parameters"}  # Llama's own template asks for the second
_OPENING_TAG = re.compile(r"\s*<(tool_call|function_call|tools)>")
_OPENERS = re.compile(r"\A(?:<\|python_tag\|>|\[TOOL_CALLS\])|(?:<\|eom_id\|>|<\|eot_id\|>)\Z")
_BEGUN = re.compile(r"""\A[^{"]*\{\s*"name"\s*:\s*"([^"\\]*)\"""")

CALL_BEGINNINGS = ("{", "[", "```", "<tool_call>", "<function_call>", "<tools>", "<|python_tag|>")
"""How a text that may be calls begins."""


class Mismatch(Exception):  # noqa: N818 - an answer, not a failure: it is asked for again
    """A text is not what was asked for; the message says what is wrong, for the model.

    Attributes:
        is_near: True when it is a call to a tool, badly written.
    """

    def __init__(self, message: str, *, is_near: bool = False) -> None:
        super().__init__(message)
        self.is_near = is_near


def read_call(text: str, tools: Collection[str]) -> Call:
    """Return the call that *text* is: one JSON object, bare or in a fence.

    Raises:
        Mismatch: It is not a call to one of *tools*.
    """
    return _call(read_json(text), tools)


def read_calls(text: str, tools: Collection[str]) -> list[Call]:
    """Return the calls that *text* is, in JSON, one or a list, bare, fenced or in models' tags.

    Raises:
        Mismatch: It holds anything else, or a call to something else than *tools*.
    """
    stripped = text.strip()
    if tagged := _in_tags(stripped):
        values: list[Any] = [read_json(inside) for inside in tagged]
    else:
        value = read_json(_OPENERS.sub("", stripped))
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not values:
        raise Mismatch("it holds no call")
    if len(values) > MOST_CALLS:
        raise Mismatch(f"it holds more than {MOST_CALLS:,} calls")
    return [_call(value, tools) for value in values]


def _in_tags(text: str) -> list[str]:
    """Return what stands in the tags of *text*; nothing when anything stands outside them."""
    inside: list[str] = []
    at = 0
    while opening := _OPENING_TAG.match(text, at):
        closing = f"</{opening[1]}>"
        end = text.find(closing, opening.end())
        if end < 0:
            return []
        inside.append(text[opening.end() : end])
        at = end + len(closing)
    return inside if at == len(text) else []


def _call(value: Any, tools: Collection[str]) -> Call:
    if not isinstance(value, dict):
        raise Mismatch("it is not one JSON object with name and arguments")
    fields = cast("dict[str, Any]", value)
    name = fields.get("name")
    known = declared_name(name, tools) if isinstance(name, str) else None
    if known not in tools:
        raise Mismatch(f"its name is not one of {', '.join(tools)}")
    # Never fill in defaults for arguments that stand somewhere else.
    others = {key for key in fields if (key, fields[key]) != ("type", "function")} - {"name"}
    if unknown := others - _SPELLINGS or (others if len(others) > 1 else set()):
        keys = ", ".join(map(repr, sorted(unknown)))
        raise Mismatch(f"the arguments belong under 'arguments', not under {keys}", is_near=True)
    arguments: object = fields[others.pop()] if others else None
    if arguments is not None and not isinstance(arguments, dict):
        raise Mismatch("its arguments are not a JSON object", is_near=True)
    return Call(known, cast("dict[str, Any]", arguments or {}))


def begun_call(text: str, tools: Collection[str]) -> str | None:
    """Return the one of *tools* that the beginning of a call, *text*, names; None without one."""
    begun = _BEGUN.match(text) if text.lstrip().startswith(CALL_BEGINNINGS) else None
    try:
        name = declared_name(begun[1], tools) if begun else None
    except Mismatch:
        return None
    return name if name in tools else None


def declared_name(name: str, tools: Collection[str]) -> str:
    """Return the one of *tools* that *name* means, or *name* when it means none of them.

    Models leak their own tokens into a name: ``search<|channel|>commentary``,
    ``functions.search`` and `` search`` mean ``search``.

    Raises:
        Mismatch: It may mean more than one of them.
    """
    if name in tools:
        return name
    bare = name.partition("<|")[0].strip()
    meant = sorted({bare, bare.removeprefix("functions.")}.intersection(tools))
    if len(meant) > 1:
        raise Mismatch(f"the name {name!r} may mean {' or '.join(meant)}", is_near=True)
    return meant[0] if meant else name


def read_output(text: str, output: AgentOutputSchemaBase) -> str:
    """Return the JSON in *text* that matches *output*, without its fence.

    Raises:
        Mismatch: Nothing matches. Its cause is what the validator raised.
    """
    # Only JSON is validated: the SDK notes every failed validation on the span.
    found = json_in(text)
    if found is None:
        raise Mismatch("it is not JSON")
    try:
        output.validate_json(found)
    except ModelBehaviorError as exc:
        cause = exc.__cause__ or _validation_error(found, output) or exc
        raise Mismatch(_words(cause)) from cause
    except NotImplementedError:
        pass  # durable engines hand over a schema that cannot validate; any JSON has to do
    return found


def _validation_error(text: str, output: AgentOutputSchemaBase) -> ValidationError | None:
    """Return what pydantic says of *text*: the SDK keeps it to itself unless told to log data."""
    if not isinstance(output, AgentOutputSchema):
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(_shape(output.output_type))
    try:
        adapter.validate_json(text, strict=True if output.is_strict_json_schema() else None)
    except ValidationError as exc:
        return exc
    return None


def _shape(wanted: Any) -> Any:
    """Return the type of the JSON for *wanted*. The SDK wraps all but models and dicts in a dict."""
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
    """Return the value of the JSON in *text*; None when there is no JSON."""
    found = json_in(text)
    return None if found is None else from_json(found)


def json_in(text: str) -> str | None:
    """Return the JSON that *text* is, bare or in a Markdown fence; None when it is neither."""
    # JSON may contain a fence too, so the fence comes off only when nothing else works.
    for candidate in (text, unfence(text)):
        try:
            from_json(candidate, allow_inf_nan=False)
        except (TypeError, ValueError):  # TypeError for half a surrogate pair
            continue
        return candidate
    return None


def unfence(text: str) -> str:
    """Return the content of the one Markdown fence in *text*, or *text* trimmed when it has none."""
    stripped = text.strip()
    opening = stripped.find("```")
    closing = stripped.rfind("```")
    if opening == -1 or closing <= opening:
        return stripped
    inside = stripped[opening + 3 : closing]
    language, newline, rest = inside.partition("\n")
    return (rest if newline and language.strip().isalnum() else inside).strip()
