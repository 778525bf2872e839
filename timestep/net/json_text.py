"""Values as JSON to read. Pure."""

import json
from typing import Any


def as_json(value: Any) -> str:
    """Return *value* as JSON with its letters unescaped; what JSON cannot say becomes text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def encodable(text: object) -> str:
    """Return *text* with a question mark for each lone surrogate, which UTF-8 cannot hold."""
    text = str(text)
    return text if text.isascii() else text.encode(errors="replace").decode()
