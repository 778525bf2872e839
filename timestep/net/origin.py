"""Which model at which host a request asked: what every error text names. Pure."""

import re
from dataclasses import dataclass, field
from typing import Any

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_SHOWN = 600
"""How many characters of the server's own words an error repeats."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The model and the host that an error is about.

    Attributes:
        model: The name the caller asked for.
        host: The scheme and authority of the endpoint.
        secrets: The key in use and other secrets, masked in whatever the server says.
    """

    model: str | None
    host: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def clean(self, text: str) -> str:
        """Return *text* without secrets and control characters, cut to a readable length."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        text = _UNPRINTABLE.sub("\ufffd", text)
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"

    def where(self) -> dict[str, Any]:
        """Return the keywords that every error of the tree takes."""
        return {"model": self.model, "host": self.host}
