"""Gives types to arguments that a model wrote as text, as the server's parsers do.

The formats that look like XML (qwen3-coder, qwen3.5, glm-4.6 and others) hold text only. The type
of the property decides what a text becomes, or the types of the arms of its ``anyOf``, one level
deep. Without a type it stays text.

Source: model/parsers/qwen3coder.go (parseValue) at v0.33.0-rc2.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

_PARSED: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def typed_arguments(
    arguments: Mapping[str, Any], name: str, tools: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return *arguments* of a call to *name*, as the server reads them from their text."""
    properties: Mapping[str, Any] = {}
    for tool in tools:
        function: Mapping[str, Any] = tool.get("function", {})
        if function.get("name") == name:
            parameters: Mapping[str, Any] = function.get("parameters") or {}
            properties = parameters.get("properties") or {}
    return {key: _typed(value, properties.get(key) or {}) for key, value in arguments.items()}


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types by which the server reads a value of *schema*."""
    found = _types(schema)
    for arm in cast("list[Mapping[str, Any]]", schema.get("anyOf") or []):
        found += _types(arm)
    return found


def _types(schema: Mapping[str, Any]) -> list[str]:
    said: Any = schema.get("type") or []
    return [said] if isinstance(said, str) else list(said)


def _typed(value: Any, schema: Mapping[str, Any]) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    for kind in types_of(schema):
        is_boolean = isinstance(parsed, bool) and kind != "boolean"
        if kind in _PARSED and isinstance(parsed, _PARSED[kind]) and not is_boolean:
            return parsed
    return text
