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
from typing import Any, cast

from timestep.net.options import BOOLEANS, FLOATS, INTEGERS
from timestep.testing import godecode as go
from timestep.testing import gojson
from timestep.testing.errors import RefusedError
from timestep.testing.grammar import GrammarError, check_grammar

_MAX_TOP_LOGPROBS = 20
_THINK_VALUES = ("high", "medium", "low", "max")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}

_MODEL_NAME = re.compile(
    r"(?:(?:(?:[^/]*://)?[A-Za-z0-9_][\w.:-]{0,349}/)?[A-Za-z0-9_][\w-]{0,79}/)?"
    r"[A-Za-z0-9_][\w.-]{0,79}(?::[A-Za-z0-9_][\w.-]{0,79})?",
    re.ASCII,
)


def check_chat(body: bytes) -> Mapping[str, Any]:
    """Return *body* parsed, when it passes all that can be checked without a model.

    Numbers are :class:`~timestep.testing.godecode.Number`.
    """
    chat = _decoded(_CHAT, body)
    top_logprobs: go.Number = chat.get("top_logprobs") or go.Number("0")
    if not 0 <= int(top_logprobs.text) <= _MAX_TOP_LOGPROBS:
        raise RefusedError(400, "top_logprobs must be between 0 and 20")
    check_model_name(chat.get("model") or "")
    return chat


def check_show(body: bytes) -> str:
    """Return the model's name in *body*, a request to ``/api/show``."""
    return _named(_decoded(_SHOW, body))


def check_pull(body: bytes) -> str:
    """Do the same for a request to ``/api/pull``."""
    return _named(_decoded(_PULL, body))


def check_options(options: Mapping[str, Any]) -> None:
    """Check the types of *options*, as a real server does before it loads the model."""
    for name, value in options.items():
        if value is not None and (wanted := _wanted(name, value)):
            raise RefusedError(500, f'option "{name}" must be of {wanted}')


def check_format(schema: Any) -> None:
    """Check that *schema* can be a ``format``, as a real server does when it generates."""
    if schema not in (None, "", "json") and not isinstance(schema, dict):
        raw = json.dumps(gojson.dumps(_plain(schema)).decode(), ensure_ascii=False)
        raise RefusedError(
            500, f'invalid format: {raw}; expected "json" or a valid JSON Schema object'
        )


def check_schema(schema: Any) -> None:
    """Check that the server can make a grammar of *schema*, a ``format``."""
    if not isinstance(schema, dict):
        return
    try:
        check_grammar(_plain(schema))
    except GrammarError as error:
        inner = {"code": 400, "message": str(error), "type": "invalid_request_error"}
        raise RefusedError(400, json.dumps({"error": inner}, separators=(",", ":"))) from None


def check_model_name(name: str) -> None:
    """Check that *name* can be a model's name."""
    if not name:
        raise RefusedError(400, "model is required")
    if not _MODEL_NAME.fullmatch(name):
        raise RefusedError(400, "invalid model name")


def seconds(duration: str) -> float:
    """Return *duration* as Go's ``time.ParseDuration`` reads it, such as ``"1h30m"``.

    Raises:
        go.DecodeError: It is not a duration; the text is Go's.
    """
    rest = re.sub(r"^[-+]", "", duration)
    if rest == "0":
        return 0.0
    total, quoted = 0.0, _quoted_bytes(duration)
    if not rest:
        raise go.DecodeError(f"time: invalid duration {quoted}")
    while rest:
        found = re.match(r"(\d+\.?\d*|\.\d+)([^.\d]*)", rest, re.ASCII)
        if found is None:
            raise go.DecodeError(f"time: invalid duration {quoted}")
        number, unit = found.groups()
        if not unit:
            raise go.DecodeError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            unknown = _quoted_bytes(unit)
            raise go.DecodeError(f"time: unknown unit {unknown} in duration {quoted}")
        total += float(number) * _UNITS[unit]
        rest = rest[found.end() :]
    return -total if duration.startswith("-") else total


def _decoded(struct: go.Struct, body: bytes) -> Mapping[str, Any]:
    try:
        value = go.parse(body)
        go.unmarshal(struct, value)
    except (EOFError, go.DecodeError) as error:
        raise RefusedError(400, str(error)) from None
    return {} if value is None else struct.named(value)


def _named(request: Mapping[str, Any]) -> str:
    name: str = request.get("model") or request.get("name") or ""
    check_model_name(name)
    return name


def _quoted_bytes(text: str) -> str:
    # The time package quotes by itself: bytes outside of printable ASCII become numbers.
    quoted = "".join(
        char if char.isascii() and char.isprintable() else f"\\x{ord(char):02x}"
        for char in text.replace("\\", r"\\").replace('"', r"\"").encode().decode("latin-1")
    )
    return f'"{quoted}"'


def _decode_keep_alive(value: Any) -> None:
    if isinstance(value, str):
        seconds(value)
    elif not isinstance(value, go.Number):
        go_types = {"bool": "bool", "array": "[]interface {}", "object": "map[string]interface {}"}
        raise go.DecodeError(f"Unsupported type: '{go_types[go.json_kind(value)]}'")


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
        go.unmarshal(_PROPERTY, schema)


def _decode_property_type(value: Any) -> None:
    if not isinstance(value, str):
        go.unmarshal(go.Slice(_STRING, "[]string"), value)


def _plain(value: Any) -> Any:
    match value:
        case go.Number():
            return json.loads(value.text)
        case list():
            return [_plain(item) for item in cast("list[object]", value)]
        case dict():
            return {name: _plain(item) for name, item in cast("dict[str, object]", value).items()}
        case _:
            return value


_STRING, _BOOL, _INT, _ANY = (
    go.Scalar("string"),
    go.Scalar("bool"),
    go.Scalar("int"),
    go.Scalar("any"),
)
_STRINGS = go.Slice(_STRING, "[]string")
_PROPERTIES = go.Unmarshaler(_decode_properties)

_property_fields: dict[str, go.GoType] = {
    "type": go.Unmarshaler(_decode_property_type),
    "items": _ANY,
    "description": _STRING,
    "enum": go.Slice(_ANY, "[]interface {}"),
    "properties": _PROPERTIES,
    "required": _STRINGS,
}
_PROPERTY = go.Struct("ToolProperty", _property_fields)
_property_fields["anyOf"] = go.Slice(_PROPERTY, "[]api.ToolProperty")

_PARAMETERS = go.Struct(
    "ToolFunctionParameters",
    {
        "type": _STRING,
        "$defs": _ANY,
        "items": _ANY,
        "required": _STRINGS,
        "properties": _PROPERTIES,
    },
)
_FUNCTION = go.Struct(
    "ToolFunction", {"name": _STRING, "description": _STRING, "parameters": _PARAMETERS}
)
_TOOL = go.Struct("Tool", {"type": _STRING, "items": _ANY, "function": _FUNCTION})

_CALL_FUNCTION = go.Struct(
    "ToolCallFunction",
    {"index": _INT, "name": _STRING, "arguments": go.Unmarshaler(_decode_ordered_map)},
)
_CALL = go.Struct("ToolCall", {"id": _STRING, "function": _CALL_FUNCTION})
_MESSAGE = go.Struct(
    "Alias",
    {
        "role": _STRING,
        "content": _STRING,
        "thinking": _STRING,
        "images": go.Slice(go.Bytes("api.ImageData"), "[]api.ImageData"),
        "tool_calls": go.Slice(_CALL, "[]api.ToolCall"),
        "tool_name": _STRING,
        "tool_call_id": _STRING,
    },
)
_CHAT = go.Struct(
    "ChatRequest",
    {
        "model": _STRING,
        "messages": go.Slice(
            go.Unmarshaler(lambda message: go.unmarshal(_MESSAGE, message)), "[]api.Message"
        ),
        "stream": _BOOL,
        "format": _ANY,
        "keep_alive": go.Unmarshaler(_decode_keep_alive),
        "tools": go.Slice(_TOOL, "api.Tools"),
        "options": go.Dict(),
        "think": go.Unmarshaler(_decode_think),
        "truncate": _BOOL,
        "shift": _BOOL,
        "_debug_render_only": _BOOL,
        "logprobs": _BOOL,
        "top_logprobs": _INT,
    },
)
_SHOW = go.Struct("ShowRequest", {"model": _STRING, "name": _STRING, "verbose": _BOOL})
_PULL = go.Struct("PullRequest", {"model": _STRING, "name": _STRING, "stream": _BOOL})


def _wanted(name: str, value: Any) -> str:
    """Return what the option *name* must be; empty when *value* is that, or nothing is known."""
    if name in INTEGERS:
        return "" if isinstance(value, go.Number) else "type integer"
    if name in FLOATS:
        return "" if isinstance(value, go.Number) else "type float32"
    if name in BOOLEANS:
        return "" if isinstance(value, bool) else "type boolean"
    if name != "stop":
        return ""
    if not isinstance(value, list):
        return "type array"
    is_strings = all(isinstance(item, str) for item in cast("list[object]", value))
    return "" if is_strings else "an array of strings"
