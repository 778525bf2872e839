"""Refuses requests to ``/api/chat`` that a real server refuses, with its status and words.

Each check raises `RefusedError` with what a real server answers.
The order is the server's: syntax, types, the range of ``top_logprobs``, the model's name; later,
when the model is known, the options and the format. Unknown fields are ignored, roles are not
checked, and neither is what only a loaded model could refuse.

Source: api/types.go, server/routes.go (ChatHandler) and types/model/name.go at v0.33.0-rc2.
"""

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from timestep.net.ollama_options import BOOLEANS, FLOATS, INTEGERS
from timestep.net.setting_values import check_keep_alive
from timestep.testing import gojson as go
from timestep.testing.errors import RefusedError
from timestep.testing.grammar import GrammarError, check_grammar

_MAX_TOP_LOGPROBS = 20
_THINK_VALUES = ("high", "medium", "low", "max")
_NO_DURATION = {"bool": "bool", "array": "[]interface {}", "object": "map[string]interface {}"}

_MODEL_NAME = re.compile(
    r"(?:(?:(?:[^/]*://)?[A-Za-z0-9_][\w.:-]{0,349}/)?[A-Za-z0-9_][\w-]{0,79}/)?"
    r"[A-Za-z0-9_][\w.-]{0,79}(?::[A-Za-z0-9_][\w.-]{0,79})?",
    re.ASCII,
)


def check_chat(body: bytes) -> Mapping[str, Any]:
    """Return *body* parsed, when it passes all that can be checked without a model."""
    chat = _decoded(_CHAT, body)
    if not 0 <= (chat.get("top_logprobs") or 0) <= _MAX_TOP_LOGPROBS:
        raise RefusedError(400, "top_logprobs must be between 0 and 20")
    check_model_name(chat.get("model") or "")
    return chat


def _check_named(struct: go.Struct, body: bytes) -> str:
    """Return the model's name in *body*, a request for one model."""
    request = _decoded(struct, body)
    name: str = request.get("model") or request.get("name") or ""
    check_model_name(name)
    return name


def check_options(options: Mapping[str, Any]) -> None:
    """Check the types of *options*, as a real server does before it loads the model."""
    for name, value in options.items():
        if value is not None and (wanted := _wanted(name, value)):
            raise RefusedError(500, f'option "{name}" must be of {wanted}')


def check_format(schema: Any) -> None:
    """Check that *schema* can be a ``format``, as a real server does when it generates."""
    if schema not in (None, "", "json") and not isinstance(schema, dict):
        raw = json.dumps(go.dumps(schema).decode(), ensure_ascii=False)
        raise RefusedError(
            500, f'invalid format: {raw}; expected "json" or a valid JSON Schema object'
        )


def check_schema(schema: Any) -> None:
    """Check that the server can make a grammar of *schema*, a ``format``."""
    if not isinstance(schema, dict):
        return
    try:
        check_grammar(schema)
    except GrammarError as error:
        inner = {"code": 400, "message": str(error), "type": "invalid_request_error"}
        raise RefusedError(400, json.dumps({"error": inner}, separators=(",", ":"))) from None


def check_model_name(name: str) -> None:
    """Check that *name* can be a model's name."""
    if not name:
        raise RefusedError(400, "model is required")
    if not _MODEL_NAME.fullmatch(name):
        raise RefusedError(400, "invalid model name")


def _decoded(struct: go.Struct, body: bytes) -> Mapping[str, Any]:
    try:
        value = go.parse(body)
        go.decode(struct, value)
    except go.DecodeError as error:
        raise RefusedError(400, str(error)) from None
    return value or {}


def _decode_keep_alive(value: Any) -> None:
    kind = go.json_kind(value)
    if kind in _NO_DURATION:
        raise go.DecodeError(f"Unsupported type: '{_NO_DURATION[kind]}'")
    if kind == "number" or value == "0":
        return
    try:
        taken = check_keep_alive(value)
    except ValueError:
        taken = None
    if taken != value:
        problem = "invalid duration" if taken is None else "missing unit in duration"
        raise go.DecodeError(f"time: {problem} {json.dumps(value)}")


def _decode_think(value: Any) -> None:
    if isinstance(value, bool) or value in _THINK_VALUES:
        return
    allowed = '("high", "medium", "low", "max", true, or false)'
    if isinstance(value, str):
        shown = json.dumps(value, ensure_ascii=False)
        raise go.DecodeError(f"invalid think value: {shown} (must be {allowed[1:]}")
    raise go.DecodeError(f"think must be a boolean or string {allowed}")


def _decode_ordered_map(value: Any) -> None:
    if not isinstance(value, dict):
        raise go.DecodeError("Value looks like object, but can't find closing '}' symbol")


def _decode_properties(value: Any) -> None:
    _decode_ordered_map(value)
    for schema in value.values():
        go.decode(_PROPERTY, schema)


def _decode_property_type(value: Any) -> None:
    if not isinstance(value, str):
        go.decode(_STRINGS, value)


_STRINGS = go.Slice("string", "[]string")

_property_fields: dict[str, go.GoType] = {
    "type": _decode_property_type,
    "description": "string",
    "enum": go.Slice("any", "[]interface {}"),
    "properties": _decode_properties,
    "required": _STRINGS,
}
_PROPERTY = go.Struct("ToolProperty", _property_fields, decodes_itself=True)
_property_fields["anyOf"] = go.Slice(_PROPERTY, "[]api.ToolProperty")

_PARAMETERS = go.Struct(
    "ToolFunctionParameters",
    {
        "type": "string",
        "required": _STRINGS,
        "properties": _decode_properties,
    },
)
_FUNCTION = go.Struct(
    "ToolFunction", {"name": "string", "description": "string", "parameters": _PARAMETERS}
)
_TOOL = go.Struct("Tool", {"type": "string", "function": _FUNCTION})

_CALL_FUNCTION = go.Struct(
    "ToolCallFunction",
    {"index": "int", "name": "string", "arguments": _decode_ordered_map},
)
_CALL = go.Struct("ToolCall", {"id": "string", "function": _CALL_FUNCTION})
_MESSAGE = go.Struct(
    "Alias",
    {
        "role": "string",
        "content": "string",
        "thinking": "string",
        "images": go.Slice(go.decode_base64, "[]api.ImageData"),
        "tool_calls": go.Slice(_CALL, "[]api.ToolCall"),
        "tool_name": "string",
        "tool_call_id": "string",
    },
    decodes_itself=True,
)
_CHAT = go.Struct(
    "ChatRequest",
    {
        "model": "string",
        "messages": go.Slice(_MESSAGE, "[]api.Message"),
        "stream": "bool",
        "keep_alive": _decode_keep_alive,
        "tools": go.Slice(_TOOL, "api.Tools"),
        "options": "map[string]interface {}",
        "think": _decode_think,
        "truncate": "bool",
        "shift": "bool",
        "_debug_render_only": "bool",
        "logprobs": "bool",
        "top_logprobs": "int",
    },
)
_SHOW = go.Struct("ShowRequest", {"model": "string", "name": "string", "verbose": "bool"})
_PULL = go.Struct("PullRequest", {"model": "string", "name": "string", "stream": "bool"})
check_show, check_pull = partial(_check_named, _SHOW), partial(_check_named, _PULL)


def _wanted(name: str, value: Any) -> str:
    """Return what the option *name* must be; empty when *value* is that, or nothing is known."""
    kind = go.json_kind(value)
    for names, wanted, words in _OPTIONS:
        if name in names and kind != wanted:
            return words
    is_strings = name != "stop" or all(isinstance(item, str) for item in value)
    return "" if is_strings else "an array of strings"


_OPTIONS = (
    (INTEGERS, "number", "type integer"),
    (FLOATS, "number", "type float32"),
    (BOOLEANS, "bool", "type boolean"),
    ({"stop"}, "array", "type array"),
)
