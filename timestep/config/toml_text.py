"""Values as TOML writes them. Pure."""

from collections.abc import Mapping
from typing import Any, cast

from timestep.config.provenance import dotted, quoted


def toml_value(value: Any) -> str:
    """Return *value* on one line of TOML; None, which TOML does not have, becomes an empty text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        table = cast("Mapping[object, Any]", value)
        pairs = ", ".join(f"{dotted([key])} = {toml_value(below)}" for key, below in table.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, cast('list[Any]', value)))}]"
    return quoted("" if value is None else str(value))
