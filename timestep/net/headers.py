"""Rules for the headers and API keys of a request. Pure.

A `ValueError` says what to write instead. No message repeats a header's value or a key.
"""

import re
from collections.abc import Mapping
from typing import cast

from timestep.net.ollama_options import WrongEntryError
from timestep.net.unresolved import UnreadError, check_read

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that say where a request ends, or that are meant for the next machine only.

A second such header allows request smuggling: server and proxy disagree where the request ends.
"""


def check_headers(headers: object) -> dict[str, str]:
    """Return a copy of *headers*, if a request can carry all of them."""
    if not isinstance(headers, Mapping):
        raise ValueError(f"headers are {type(headers).__name__}; write a table of strings by name")
    given = cast("Mapping[object, object]", headers)
    return dict(_entry(name, value) for name, value in given.items())


def _entry(name: object, value: object) -> tuple[str, str]:
    """Return a header of a table; an error knows which one it is about."""
    try:
        return check_header(name, value)
    except UnreadError as exc:
        exc.name = str(name)
        raise
    except ValueError as exc:
        raise WrongEntryError(str(name), str(exc)) from None


def check_header(name: object, value: object) -> tuple[str, str]:
    """Return *name* and *value*, if a request can carry them as a header."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a header's name; write one such as X-Title")
    if name.lower() in _OF_THE_CONNECTION:
        raise ValueError(f"{name!r} is set by the connection; leave it out")
    if not isinstance(value, str):
        raise ValueError(f"the value of the header {name!r} is {type(value).__name__}; write text")
    if not _is_printable_ascii(value):
        raise ValueError(
            f"the value of the header {name!r} holds a line break or a character that is not ASCII"
        )
    if re.search(r"authorization|key|token|secret", name.lower()):
        for text in {value.strip(), value.strip().partition(" ")[2]}:  # with and without "Bearer"
            check_read(
                text, f"the value of the header {name!r}", but={"url", "quotes", "assignment"}
            )
    return name, value


def check_account(name: object) -> str:
    """Return the *name* of an organization or a project, which a header carries, without spaces around it."""
    if not isinstance(name, str):
        raise ValueError(f"it is {type(name).__name__}, not text")
    text = name.strip()
    check_read(text, "it", but={"url"})
    if not text or not _is_printable_ascii(text):
        raise ValueError("it is empty, or holds a line break or a character that is not ASCII")
    return text


def check_query(query: object) -> dict[str, str]:
    """Return a copy of *query*, if it holds text by name."""
    if not isinstance(query, Mapping):
        raise ValueError(f"it is {type(query).__name__}; write a table of strings by name")
    given = cast("Mapping[object, object]", query)
    if not all(isinstance(text, str) for pair in given.items() for text in pair):
        raise ValueError("its names and values must be text")
    return dict(cast("Mapping[str, str]", query))


def has_authorization(headers: Mapping[str, str]) -> bool:
    """Return True if *headers* say who asks. Then no key, and none that a command prints, is sent."""
    return any(name.lower() == "authorization" for name in headers)


def check_key(key: object) -> str | None:
    """Return the API key without the space and line breaks around it; None if nothing is left."""
    if key is None:
        return None
    if not isinstance(key, str):
        raise ValueError(f"the key is {type(key).__name__}, not text; pass the key itself")
    text = key.strip()
    check_read(text, "the key")
    if " " in text or not _is_printable_ascii(text):
        raise ValueError(
            "the key holds a space, a line break or a character that is not ASCII; copy it again"
        )
    return text or None


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()
