"""Values as people read them. Pure."""

import json
from typing import Any

from timestep.net.controls import CONTROLS
from timestep.net.json_text import as_json


def json_text(value: Any, *, indent: int | None = None, ensure_ascii: bool = False) -> str:
    """Return *value* as JSON that every reader takes and no terminal acts on.

    An infinite number becomes text: JSON has none, although ``1e999`` is read as one.
    """
    try:
        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, allow_nan=False)
    except ValueError:
        value = json.loads(json.dumps(value), parse_constant=str)
        text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(value: Any, most: int = 200) -> str:
    """Return *value* on one line of *most* characters: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else as_json(value)
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
