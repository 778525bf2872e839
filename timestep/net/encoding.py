"""The body of a request as bytes. Pure."""

import math
from collections.abc import Mapping
from typing import Any, cast

from pydantic_core import PydanticSerializationError, to_json

from timestep.errors import UnsupportedInputError


def encode(body: Mapping[str, Any]) -> bytes:
    """Return *body* as JSON."""
    try:
        text = to_json(body, inf_nan_mode="constants")
    except (PydanticSerializationError, UnicodeEncodeError, RecursionError) as exc:
        path = _unsendable(body, "")
        raise UnsupportedInputError(
            f"The request cannot be written as JSON: {path or 'a value in it'} holds half a "
            "surrogate pair or a value of an unknown type, or is nested too deep. Decode text with "
            "errors='replace', and pass plain JSON values."
        ) from exc
    if (b"NaN" in text or b"Infinity" in text) and (found := not_finite(body, "")) is not None:
        path, number = found
        said = "NaN" if math.isnan(number) else "infinite"
        raise UnsupportedInputError(
            f"The request cannot be written as JSON: {path} is {said}. Send a finite number, or "
            "leave it out."
        )
    return text


def is_finite(value: Any) -> bool:
    """Return True when *value* holds neither NaN nor Infinity, which JSON cannot say."""
    return not_finite(value, "") is None


def _children(value: Any, path: str) -> list[tuple[str, Any]]:
    """Return what is in *value*, each with its path."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[Any, Any]", value)
        return [(f"{path}.{key}" if path else str(key), mapping[key]) for key in mapping]
    if isinstance(value, list | tuple):
        return [(f"{path}[{at}]", item) for at, item in enumerate(cast("list[Any]", value))]
    return []


def not_finite(value: Any, path: str) -> tuple[str, float] | None:
    """Return the path and the value of the first NaN or infinite number in *value*, which is at *path*."""
    if isinstance(value, float) and not math.isfinite(value):
        return path, value
    below = _children(value, path)
    return next((found for p, child in below if (found := not_finite(child, p))), None)


def _unsendable(value: Any, path: str) -> str | None:
    """Return the path of the first value that is not JSON, down to a sane depth."""
    if not isinstance(value, Mapping | list | tuple):
        try:
            to_json(value)
        except (PydanticSerializationError, UnicodeEncodeError):
            return path
        return None
    if path.count(".") + path.count("[") > 50:  # noqa: PLR2004 - deeper than any request is
        return path
    below = _children(cast("Any", value), path)
    return next((found for p, child in below if (found := _unsendable(child, p))), None)
