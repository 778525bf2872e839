"""Finds the error message in a server's answer, in any format. Pure."""

import re
from collections.abc import Mapping
from typing import Any, cast

import jiter

from timestep.net.json_text import as_json, encodable
from timestep.net.limits import MOST_SAID, has_too_many_values

# An unclosed script runs to the end and a tag to the next one, so that no page takes long.
_TAGS = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>?", re.DOTALL | re.IGNORECASE)

_NESTED = 8
"""How deep to look for errors inside errors. llama-server's are three deep in Ollama's."""


def parse(text: bytes | str) -> Any:
    """Return the JSON value of *text*; None when it is not JSON, or more than a server says."""
    try:
        data = text if isinstance(text, bytes) else text.encode()
        return None if has_too_many_values(data, most=MOST_SAID) else jiter.from_json(data)
    except ValueError:
        return None


def words_of_document(document: Any) -> str:
    """Return the innermost message in *document*, or the whole document without one."""
    words = document
    for _ in range(_NESTED):
        if isinstance(words, str) and words.startswith("{"):
            # llama-server's body arrives as text, sometimes with a log line behind it.
            words = parse(words.split("\n", 1)[0]) or words
        if not isinstance(words, Mapping):
            break
        fields = cast("Mapping[str, Any]", words)
        inner = fields.get("error") or fields.get("message")
        if not inner:
            break
        words = inner
    return words.strip() if isinstance(words, str) else encodable(as_json(words))


def words_of_page(text: str) -> str:
    """Return the words of a body that is not JSON, such as a proxy's page of HTML."""
    return " ".join(_TAGS.sub(" ", text).split())
