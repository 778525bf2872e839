"""Calls to tools as people read them. Pure."""

import json
from typing import Any, cast

from timestep.net.json_text import as_json


def read_arguments(arguments: Any) -> Any:
    """Return the arguments of a call: an object, or the text when it is not JSON."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def canonical_arguments(arguments: Any) -> str:
    """Return *arguments* as text that is equal for equal arguments."""
    given = read_arguments(arguments)
    if isinstance(given, str) and given:
        return given
    return json.dumps(given or {}, sort_keys=True, ensure_ascii=False)


def call_text(name: str, arguments: Any) -> str:
    """Return a call as Python writes it: ``get_weather(city="Oslo")``; text that is not JSON stays."""
    given = read_arguments(arguments)
    if isinstance(given, dict):
        named = cast("dict[str, Any]", given).items()
        return f"{name}({', '.join(f'{key}={as_json(value)}' for key, value in named)})"
    if given is None or isinstance(given, str):
        return f"{name}({given or ''})"
    return f"{name}({as_json(given)})"
