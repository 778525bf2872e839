"""Values and calls as people read them. Pure."""

import json
import re
from typing import Any, cast

from timestep.net.controls import CONTROLS


def encodable(text: object) -> str:
    """Return *text* with a question mark for each lone surrogate, which UTF-8 cannot hold."""
    text = str(text)
    return text if text.isascii() else text.encode(errors="replace").decode()


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


def as_json(value: Any) -> str:
    """Return *value* as JSON with its letters unescaped; what JSON cannot say becomes its ``repr``."""
    return json.dumps(value, ensure_ascii=False, default=repr)


def one_line(value: Any, most: int = 200) -> str:
    """Return *value* on one line of *most* characters: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else as_json(value)
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def plain_words(markdown: str) -> str:
    """Return the words of *markdown*, without the marks that a list does not show.

    A mark counts only where Markdown reads it as one: ``2 * 3``, ``**kwargs`` and ``__init__`` stay.
    """
    if not _SIGN.search(markdown):
        return markdown
    for mark, words in _MARKS:
        markdown = mark.sub(words, markdown)
    return markdown


_SIGN = re.compile(r"[`~#>\[*]")
"""A sign that every mark has."""

_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]*[^\s*])\1(?![\w*])")
_MARKS = (
    (re.compile(r"^[ ]{0,3}(?:```|~~~)[^`\n]*$", re.MULTILINE), ""),  # the fences of code
    (re.compile(r"^[ ]{0,3}#{1,6}[ \t]+(.*?)[ \t#]*$", re.MULTILINE), r"\1"),  # headings
    (re.compile(r"^[ ]{0,3}>[ \t]?", re.MULTILINE), ""),  # quotations
    (re.compile(r"(?<!\w)!?\[([^\[\]\n]+)\]\([^()\s]*\)"), r"\1"),  # links and images
    (re.compile(r"(?<![`\\])(`{1,2})(?!`)([^`\n]+)\1(?!`)"), r"\2"),  # code in a line
    (_EMPHASIS, r"\2"),
    (_EMPHASIS, r"\2"),  # around the other
)


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
