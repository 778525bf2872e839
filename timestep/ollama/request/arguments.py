"""The arguments of tool calls: OpenAI writes JSON text, Ollama wants the object. Pure."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, cast

from pydantic_core import from_json

from timestep.errors import UnsupportedInputError
from timestep.ollama.request.content import is_object


def decode_arguments(arguments: Any) -> dict[str, Any]:
    """Return the object in *arguments*: OpenAI sends JSON text, Ollama wants the object.

    Empty arguments and ``null`` are ``{}``. Arguments that are not a JSON object, or that hold
    what the server cannot read, are kept as ``{"_raw": text}``.
    """
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    try:
        value = from_json(arguments) if isinstance(arguments, str) else arguments
        if value is None:
            return {}
        if is_object(value) and _is_finite(value):
            return dict(value)
    except (TypeError, ValueError, RecursionError):
        pass  # not JSON
    return {"_raw": arguments if isinstance(arguments, str) else to_json(arguments, "arguments")}


def _is_finite(value: Any) -> bool:
    """Return True when every number in *value* fits into a 64 bit float, as the server's are."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    if is_object(value):
        inside: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        inside = cast("Sequence[Any]", value)
    else:
        return True
    # Most arguments are text, and a call for each of them would be most of the cost.
    return all(type(item) is str or _is_finite(item) for item in inside)


def to_json(value: Any, where: str) -> str:
    """Return *value* as JSON text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError) as exc:
        raise UnsupportedInputError(f"{where} cannot be written as JSON: {exc}.") from exc
