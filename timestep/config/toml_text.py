"""Values as TOML writes them. Pure."""

import json
from collections.abc import Mapping
from typing import Any, cast

from timestep.config.provenance import dotted


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
    text = "" if value is None else str(value)
    # JSON escapes all that TOML does, except this character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
