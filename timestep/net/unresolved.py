"""Refuses text that points at a value but was used as the value. Pure.

A key that is written ``${KEY}`` or ``env:KEY`` where nothing replaces it is sent as it stands, and
the server answers 401. No message repeats the text: it may hold the key.
"""

import re
from collections.abc import Collection
from typing import Literal, TypeAlias

Slip: TypeAlias = Literal["variable", "file", "url", "quotes", "assignment"]

_SLIPS: tuple[tuple[Slip, str], ...] = (
    ("variable", r".*\$\{[^{}]*\}.*|\$\([^()]*\)|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%"),
    ("variable", r"\{\{.*\}\}|<[^<>]*>|env:.*"),
    ("file", r"(?:file|vault|secret|arn):.*|@?/run/secrets/.*|@[./~].*|op://.*"),
    ("url", r"[a-z][a-z0-9+.-]*://.*"),
    ("quotes", r"['\"`].*|.*['\"`]"),
    ("assignment", r"(?:export\s+)?[A-Z][A-Z0-9_]*(?:KEY|TOKEN|SECRET)\s*[=:]\s*[^=].*"),
)
_REASONS: dict[Slip, str] = {
    "variable": "names a variable, and nothing puts its value here",
    "file": "names a place, and nothing reads it",
    "url": "is a URL",
    "quotes": "is still in quotes",
    "assignment": "begins with the name of a variable",
}
FIXES: dict[Slip, str] = {
    "variable": "give the value itself",
    "file": "give the value itself, or mount it as a file in TIMESTEP_SECRETS_DIR",
    "url": "give the key itself; a URL belongs in base_url",
    "quotes": "leave out the quotes that belong to the text",
    "assignment": "leave out that name and the equals sign",
}


class UnreadError(ValueError):
    """A setting holds a reference to its value instead of the value."""

    name: str | None = None  # the entry of a table that it is the value of; None outside of tables

    def __init__(self, reason: str, slip: Slip) -> None:
        super().__init__(f"{reason}; {FIXES[slip]}")
        self.reason = reason  # what the text is, without the text
        self.slip: Slip = slip  # how it came to be


def check_read(text: str, what: str, *, but: Collection[Slip] = ()) -> None:
    """Refuse *text* that only points at a value. *what* names it, as in ``"the key"``.

    Slips in *but* are allowed.
    """
    for slip, pattern in _SLIPS:
        if slip not in but and re.fullmatch(pattern, text, re.DOTALL):
            raise UnreadError(f"{what} {_REASONS[slip]}", slip)
