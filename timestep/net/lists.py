"""Lists that are written as text. Pure."""

import re


def split_commas(value: object) -> object:
    """Return the parts of text that has commas, without the empty ones; anything else as it is.

    A variable holds nothing but text, so commas are how it lists names and servers.

    Raises:
        ValueError: The text begins as a JSON list or table does, and is not one.
    """
    if not isinstance(value, str):
        return value
    begins = value.lstrip()[:1]
    if begins in {"[", "{"} and not re.match(r"\s*\[[0-9A-Fa-f:.]+\]", value):  # an IPv6 host
        kind = "list" if begins == "[" else "table"
        raise ValueError(f'this begins as a JSON {kind} and is not one; write ["a", "b"], or a, b')
    if "," not in value:
        return value
    return [part.strip() for part in value.split(",") if part.strip()]
