"""Go's ``encoding/json`` decoding into structs: what it refuses, and in which words.

Go checks the syntax first, then walks the value. The first mismatch of types is kept and the
walk goes on; an error of a type that decodes itself (:class:`Unmarshaler`) ends it at once.
``null`` fits everything. Unknown keys are ignored, known ones match in any case. Where the syntax
is broken, the status and the place are Go's and the words are near them.

Source: encoding/json/decode.go, encoding/base64/base64.go.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

_INTEGER = re.compile(r"-?\d+")
_RANGES = {"int": range(-(2**63), 2**63), "uint8": range(256)}
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_QUANTUM = 4
_MIN_DIGITS = 2


class DecodeError(Exception):
    """A value that does not decode; the text is Go's."""


class MismatchError(DecodeError):
    """A JSON value of a *kind* that does not fit *go_type*, as ``"[]api.Message"``.

    *struct* is the innermost one, without package; empty outside of any.
    """

    def __init__(
        self, kind: str, go_type: str, struct: str = "", path: tuple[str, ...] = ()
    ) -> None:
        self.kind, self.go_type, self.struct, self.path = kind, go_type, struct, path
        place = f"struct field {struct}.{'.'.join(path)}" if struct else "value"
        super().__init__(f"json: cannot unmarshal {kind} into Go {place} of type {go_type}")

    def within(self, place: "Place") -> "MismatchError":
        """Return the same mismatch, seen from the type around the one that decodes itself."""
        return MismatchError(
            self.kind, self.go_type, place.struct or self.struct, place.path + self.path
        )


class Number(NamedTuple):
    """A JSON number as it was written."""

    text: str


@dataclass(frozen=True)
class Place:
    """Where a value stands, and the first mismatch found so far."""

    struct: str = ""
    path: tuple[str, ...] = ()
    errors: list[DecodeError] = field(default_factory=list[DecodeError])

    def inside(self, struct: str, key: str) -> "Place":
        """Return the place of *key* in *struct*."""
        return Place(struct, (*self.path, key), self.errors)

    def mismatch(self, kind: str, go_type: str) -> None:
        """Note that a *kind* does not fit *go_type*."""
        self.errors.append(MismatchError(kind, go_type, self.struct, self.path))


class GoType(Protocol):
    """A type that JSON is decoded into."""

    def decode(self, value: Any, place: Place) -> None:
        """Note in *place* what does not fit; *value* is never ``None``."""
        ...


@dataclass(frozen=True)
class Scalar:
    """``string``, ``bool``, ``int``, ``uint8`` or ``any``."""

    go_type: str

    def decode(self, value: Any, place: Place) -> None:
        """See :class:`GoType`."""
        kind = json_kind(value)
        if self.go_type in _RANGES and isinstance(value, Number):
            if not (_INTEGER.fullmatch(value.text) and int(value.text) in _RANGES[self.go_type]):
                place.mismatch(f"number {value.text}", self.go_type)
        elif self.go_type not in (kind, "any"):
            place.mismatch(kind, self.go_type)


@dataclass(frozen=True)
class Bytes:
    """``[]byte``: base64 in the standard alphabet, padded; or an array of its bytes."""

    go_type: str

    def decode(self, value: Any, place: Place) -> None:
        """See :class:`GoType`."""
        if isinstance(value, str):
            offset = corrupt_base64(value)
            if offset is not None:
                place.errors.append(DecodeError(f"illegal base64 data at input byte {offset}"))
        else:
            Slice(Scalar("uint8"), self.go_type).decode(value, place)


@dataclass(frozen=True)
class Slice:
    """A slice of *item*; its own name if it has one."""

    item: GoType
    go_type: str

    def decode(self, value: Any, place: Place) -> None:
        """See :class:`GoType`."""
        if not isinstance(value, list):
            place.mismatch(json_kind(value), self.go_type)
            return
        for item in cast("list[object]", value):
            if item is not None:
                self.item.decode(item, place)


@dataclass(frozen=True)
class Dict:
    """``map[string]interface {}``."""

    def decode(self, value: Any, place: Place) -> None:
        """See :class:`GoType`."""
        if not isinstance(value, dict):
            place.mismatch(json_kind(value), "map[string]interface {}")


@dataclass(frozen=True)
class Struct:
    """A struct of package ``api``, its fields by JSON name."""

    name: str
    fields: Mapping[str, GoType]

    def decode(self, value: Any, place: Place) -> None:
        """See :class:`GoType`."""
        if not isinstance(value, dict):
            place.mismatch(json_kind(value), f"api.{self.name}")
            return
        for key, item in cast("dict[str, Any]", value).items():
            name = self._name(key)
            if item is not None and name in self.fields:
                self.fields[name].decode(item, place.inside(self.name, name))

    def named(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of *value* that are set, by their own names whatever case it uses."""
        return {self._name(key): item for key, item in value.items() if item is not None}

    def _name(self, key: str) -> str:
        if key in self.fields:
            return key
        return next((name for name in self.fields if name.lower() == key.lower()), key)


@dataclass(frozen=True)
class Unmarshaler:
    """A type with a method ``UnmarshalJSON``: *decode_alone* stands for it."""

    decode_alone: Callable[[Any], None]

    def decode(self, value: Any, place: Place) -> None:
        """See :class:`GoType`.

        Raises:
            DecodeError: What the method returns.
        """
        try:
            self.decode_alone(value)
        except MismatchError as error:
            raise error.within(place) from None


def unmarshal(go_type: GoType, value: Any) -> None:
    """Decode *value* into *go_type*, as ``json.Unmarshal`` does.

    Raises:
        DecodeError: It does not fit.
    """
    place = Place()
    if value is not None:
        go_type.decode(value, place)
    if place.errors:
        raise place.errors[0]


def parse(body: bytes) -> Any:
    """Return the first JSON value of *body*; numbers as :class:`Number`. What follows it is ignored.

    Raises:
        DecodeError: *body* does not start with a JSON value.
        EOFError: *body* is empty.
    """
    text = body.decode(errors="replace").lstrip(" \t\r\n")
    if not text:
        raise EOFError("missing request body")
    try:
        value, _ = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise DecodeError(_syntax_error(error)) from None
    return value


def corrupt_base64(text: str) -> int | None:
    """Return the offset at which Go finds *text* to be damaged base64; ``None`` if it is sound.

    Line breaks are ignored, everything else counts.
    """
    data = text.encode()
    padded = data.translate(None, b"\r\n")
    digits = padded.rstrip(b"=")
    is_sound = (
        len(padded) % _QUANTUM == 0
        and len(padded) - len(digits) <= _QUANTUM - _MIN_DIGITS
        and not digits.translate(None, _ALPHABET)
    )
    return None if is_sound else _corrupt_offset(data)


def _corrupt_offset(data: bytes) -> int:
    digits = 0
    for offset, byte in enumerate(data):
        if byte in b"\r\n":
            continue
        if byte in _ALPHABET:
            digits += 1
        elif byte == ord("=") and digits % _QUANTUM >= _MIN_DIGITS:
            return _after_padding(data, offset, digits % _QUANTUM)
        else:
            return offset
    return len(data) - digits % _QUANTUM


def _after_padding(data: bytes, offset: int, digits: int) -> int:
    # Two digits want a second "=", then nothing may follow.
    places = iter(range(offset + 1, len(data)))
    following = next((at for at in places if data[at] not in b"\r\n"), len(data))
    if digits == _MIN_DIGITS and following < len(data):
        if data[following] != ord("="):
            return following - 1
        following = next((at for at in places if data[at] not in b"\r\n"), len(data))
    return following


def json_kind(value: Any) -> str:
    """Return the kind of the JSON *value*, in the word Go's errors use."""
    match value:
        case str():
            return "string"
        case bool():
            return "bool"
        case Number():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def _constant(name: str) -> None:
    # Python reads NaN and Infinity as numbers; JSON has neither.
    numeral = " in numeric literal" if name.startswith("-") else " looking for beginning of value"
    raise DecodeError(f"invalid character {_quoted(name.lstrip('-')[0])}{numeral}")


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)

_CONTEXT = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after array element or object key:value pair",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}


def _syntax_error(error: json.JSONDecodeError) -> str:
    context = _CONTEXT.get(error.msg.removesuffix(": "))
    if context is None or error.pos >= len(error.doc):
        return "unexpected EOF"
    return f"invalid character {_quoted(error.doc[error.pos])} {context}"


def _quoted(character: str) -> str:
    if character == "'":
        return r"'\''"
    if character == '"':
        return "'\"'"
    return f"'{json.dumps(character, ensure_ascii=False)[1:-1]}'"
