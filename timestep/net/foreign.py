"""Parts of JSON that somebody else wrote, as the type that is expected there. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast


class WrongShape(ValueError):  # noqa: N818 - the reader makes the error of it
    """A server sent something else; the message says what, in words that follow "sent"."""


def mapping(value: object) -> Mapping[str, Any]:
    """Return *value*, or an empty mapping when it is something else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def entries(value: object) -> Sequence[Any]:
    """Return *value*, or an empty list when it is something else."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
