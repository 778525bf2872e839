"""Parts of JSON that somebody else wrote, as the type that is expected there. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast


def mapping(value: object) -> Mapping[str, Any]:
    """Return *value*, or an empty mapping when it is something else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def entries(value: object) -> Sequence[Any]:
    """Return *value*, or an empty list when it is something else."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
