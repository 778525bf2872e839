"""What is written in a text: JSON, a call to a tool, an output that matches a schema. Pure."""

from collections.abc import Collection
from typing import Any, cast

from agents import AgentOutputSchemaBase
from agents.exceptions import ModelBehaviorError
from pydantic_core import from_json


def read_call(text: str, tools: Collection[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the name and arguments of the call that *text* is; None unless it calls one of *tools*."""
    value = read_json(text)
    if not isinstance(value, dict):
        return None
    call = cast("dict[str, Any]", value)
    name, arguments = call.get("name"), call.get("arguments", {})
    if not isinstance(name, str) or name not in tools or not isinstance(arguments, dict):
        return None
    return name, cast("dict[str, Any]", arguments)


def read_output(text: str, output: AgentOutputSchemaBase) -> str | None:
    """Return the JSON in *text* that matches *output*, without its fence; None when none matches."""
    # Only JSON is validated: the SDK notes every failed validation on the span.
    found = json_in(text)
    if found is None:
        return None
    try:
        output.validate_json(found)
    except ModelBehaviorError:
        return None
    except NotImplementedError:
        pass  # durable engines hand over a schema that cannot validate; any JSON has to do
    return found


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
