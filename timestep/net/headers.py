"""What HTTP lets a request header be, and which ones are not the caller's. Pure."""

import re

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


def is_header_name(text: str) -> bool:
    """True when HTTP can carry a header called *text*."""
    return _NAME.fullmatch(text) is not None


def is_header(name: str, value: object) -> bool:
    """True when HTTP can carry a header *name* with *value*."""
    return (
        is_header_name(name) and isinstance(value, str) and value.isascii() and value.isprintable()
    )


def check_not_framing(name: str) -> None:
    """Refuse a header that says where a request ends, or is for the next machine only.

    A second one beside the connection's own lets a server and a proxy disagree about where the
    next request begins.

    Raises:
        ValueError: *name* is such a header.
    """
    if name.lower() in _OF_THE_CONNECTION:
        raise ValueError(f"{name!r} is the connection's own header; leave it out")
