"""JSON as Go's ``encoding/json`` writes it, byte for byte.

Source: encoding/json/encode.go; the exchanges in tests/wire show the result.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, cast

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
