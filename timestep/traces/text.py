"""Values and calls as people read them. Pure."""

import json
from typing import Any, cast


def as_json(value: Any) -> str:
    """Return *value* as JSON with its letters unescaped."""
    return json.dumps(value, ensure_ascii=False)


def one_line(value: Any, most: int = 200) -> str:
    """Return *value* on one line of *most* characters: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else as_json(value)
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def read_arguments(arguments: Any) -> Any:
    """Return the arguments of a call: an object, or the text when it is not JSON."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


def call_text(name: str, arguments: Any) -> str:
    """Return a call as it stands in a program: ``get_weather(city="Oslo")``.

    Args:
        name: Of the tool.
        arguments: As an object or as JSON; other text is shown as the model wrote it.
    """
    given = read_arguments(arguments)
    if isinstance(given, dict):
        named = cast("dict[str, Any]", given).items()
        return f"{name}({', '.join(f'{key}={as_json(value)}' for key, value in named)})"
    if given is None or isinstance(given, str):
        return f"{name}({given or ''})"
    return f"{name}({as_json(given)})"
