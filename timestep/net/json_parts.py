"""Parts of JSON that somebody else wrote, as the type that is expected there. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast


class WrongShape(ValueError):  # noqa: N818 - the reader makes the error of it
    """A server sent something else; the message says what, in words that follow "sent"."""


def mapping(value: object) -> Mapping[str, Any]:
    """Return *value*, or an empty mapping when it is something else."""
    # A dict is asked for by its type first: to ask for a Mapping takes five times as long.
    is_mapping = type(value) is dict or isinstance(value, Mapping)
    return cast("Mapping[str, Any]", value) if is_mapping else {}


def entries(value: object) -> Sequence[Any]:
    """Return *value*, or an empty list when it is something else."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
