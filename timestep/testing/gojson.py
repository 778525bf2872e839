"""JSON as Go's ``encoding/json`` reads and writes it.

It is written byte for byte. Reading it into structs has Go's refusals, in Go's words: the first value
that does not fit is reported, ``null`` fits everything, and unknown keys are ignored. Where the syntax
is broken, the status is Go's and the words are near them.

Source: encoding/json/encode.go and decode.go, encoding/base64/base64.go; the exchanges in tests/wire
show the result.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple, TypeAlias, cast

_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")
_SHORT = 64
_TINY, _HUGE = 1e-6, 1e21
_WORDS = {True: "true", False: "false", None: "null"}


def line(value: Any) -> bytes:
    """Return *value* as one line of NDJSON."""
    return dumps(value) + b"\n"


def dumps(value: Any) -> bytes:
    """Return *value* as compact JSON in UTF-8, keys in the order given."""
    return _encode(value).encode()


def _encode(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bool) or value is None:
        return _WORDS[value]
    if isinstance(value, int):
        return str(value)
    # The abstract type only when it must be: asking is slow, and every chunk comes through here.
    if isinstance(value, dict | Mapping):
        members = cast("Mapping[str, object]", value).items()
        return "{" + ",".join([f"{_string(name)}:{_encode(item)}" for name, item in members]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_encode(item) for item in cast("Sequence[object]", value)]) + "]"
    raise TypeError(f"{type(value).__name__} is not a JSON value: {value!r}")


def _string(text: str) -> str:
    return _short(text) if len(text) < _SHORT else _quoted(text)


def _quoted(text: str) -> str:
    return _UNSAFE.sub(_escaped, encode_basestring(text))


# Keys, roles and names come with every chunk.
_short = lru_cache(maxsize=1024)(_quoted)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    # A lone surrogate cannot be UTF-8; Go writes the replacement character for it.
    return r"\ufffd" if code in range(0xD800, 0xE000) else f"\\u{code:04x}"


def _number(value: float) -> str:
    if value == 0 or _TINY <= abs(value) < _HUGE:
        text = format(Decimal(repr(value)), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return json.dumps(value, allow_nan=False).replace("e-0", "e-")


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
