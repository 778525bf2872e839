"""Go's ``encoding/json`` decoding into structs: what it refuses, and in which words.

Go reports the first value that does not fit. ``null`` fits everything, and unknown keys are ignored.
Where the syntax is broken, the status is Go's and the words are near them.

Source: encoding/json/decode.go, encoding/base64/base64.go.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


class DecodeError(Exception):
    """A value that does not decode; the text is Go's."""


class MismatchError(DecodeError):
    """A kind of JSON that does not fit a type of Go, such as ``"[]api.Message"``."""

    struct = ""  # the innermost struct around the value, without package; empty outside of any
    path = ""  # the keys that lead to it

    def __init__(self, kind: str, go_type: str) -> None:
        super().__init__(kind, go_type)

    def __str__(self) -> str:
        kind, go_type = self.args
        where = f"struct field {self.struct}{self.path}" if self.struct else "value"
        return f"json: cannot unmarshal {kind} into Go {where} of type {go_type}"


class Slice(NamedTuple):
    """A slice of *item*, and its own name."""

    item: "GoType"
    go_type: str


class Struct(NamedTuple):
    """A struct of package ``api``, its fields by JSON name."""

    name: str
    fields: "Mapping[str, GoType]"
    decodes_itself: bool = False


GoType: TypeAlias = str | Slice | Struct | Callable[[Any], None]
"""A scalar by its name in Go, or a function for a type that decodes itself."""


def decode(go_type: GoType, value: Any) -> None:
    """Check that *value* fits *go_type*."""
    if value is None:
        return
    kind = json_kind(value)
    match go_type:
        case Struct():
            _decode_struct(go_type, value)
        case Slice(item, name):
            if kind != "array":
                raise MismatchError(kind, name)
            for each in value:
                decode(item, each)
        case "int" if kind == "number":
            if not isinstance(value, int):
                raise MismatchError(f"number {value}", "int")
        case str():
            if go_type != "any" and kind != ("object" if go_type.startswith("map[") else go_type):
                raise MismatchError(kind, go_type)
        case _:
            go_type(value)


def _decode_struct(struct: Struct, value: Any) -> None:
    if not isinstance(value, dict):
        raise MismatchError(json_kind(value), f"api.{struct.name}")
    for key, item in cast("dict[str, Any]", value).items():
        if key in struct.fields:
            try:
                decode(struct.fields[key], item)
            except MismatchError as error:
                error.path = f".{key}{error.path}"
                # The struct around a type that decodes itself is named.
                error.struct = "" if struct.decodes_itself else error.struct or struct.name
                raise


def decode_base64(value: Any) -> None:
    """Check that *value* is ``[]byte``: base64 in the standard alphabet, padded."""
    if not isinstance(value, str):
        raise MismatchError(json_kind(value), "api.ImageData")
    try:
        b64decode(value.translate({ord("\r"): None, ord("\n"): None}), validate=True)
    except ValueError:
        offset = len(value) - len(re.sub(r"^[A-Za-z0-9+/\r\n]*", "", value))
        raise DecodeError(f"illegal base64 data at input byte {offset}") from None


def parse(body: bytes) -> Any:
    """Return the first JSON value of *body*. What follows it is ignored."""
    text = body.decode(errors="replace").lstrip(" \t\r\n")
    if not text:
        raise DecodeError("missing request body")
    try:
        return json.JSONDecoder(parse_constant=_refuse_constant).raw_decode(text)[0]
    except json.JSONDecodeError as error:
        if error.pos >= len(text) or "Unterminated" in error.msg:
            raise DecodeError("unexpected EOF") from None
        wanted = "object key string" if "property name" in error.msg else "value"
        raise DecodeError(_invalid(text[error.pos], wanted)) from None


def json_kind(value: Any) -> str:
    """Return the kind of the JSON *value*, in the word Go's errors use."""
    return _KINDS[type(value)]


def _refuse_constant(name: str) -> None:
    raise DecodeError(_invalid(name[0], "value"))  # Python reads NaN, and JSON does not have it


def _invalid(character: str, wanted: str) -> str:
    quoted = r"'\''" if character == "'" else f"'{character}'"
    return f"invalid character {quoted} looking for beginning of {wanted}"
