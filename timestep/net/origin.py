"""The model and host of a request, which every error message names. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypedDict

from timestep.net.controls import CONTROLS
from timestep.net.secrets import masked_json, masker

_UNPRINTABLE = re.compile(rf"{CONTROLS.pattern}|[\ud800-\udfff]")

_SHOWN = 600
"""How many characters of the server's own words an error repeats."""

_QUOTED = 120
"""How many characters of a line an error quotes."""

_SEARCHED = 1 << 20
"""How many bytes at the head of a line are searched for secrets before the line is quoted."""


class Where(TypedDict):
    """The keywords that every error of the tree takes."""

    model: str | None
    host: str | None


@dataclass(slots=True)
class Origin:
    """The model and the host that an error is about."""

    model: str | None  # the name the caller asked for
    host: str  # the scheme and authority of the endpoint
    secrets: tuple[str, ...] = field(default=(), repr=False)  # masked in what a server says
    printed: Collection[str] = field(default=(), repr=False)  # the same, of a command
    url: str = field(default="", repr=False)  # of the request, where an error shows it

    def hide(self, text: str) -> str:
        """Return *text* without secrets."""
        return masker((*self.secrets, *self.printed))(text)

    def clean(self, text: str) -> str:
        """Return *text* without secrets and control characters, cut to a readable length."""
        # Masked before it is cut: half a secret would no longer be found.
        text = _UNPRINTABLE.sub("\ufffd", self.hide(text))
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"

    def quote(self, line: bytes) -> str:
        """Return the beginning of *line* in quotes, without secrets."""
        text = self.hide(line[:_SEARCHED].decode("utf-8", "replace"))
        return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")

    def masked(self, document: object) -> object:
        """Return the JSON *document* without secrets."""
        return masked_json(document, self.hide)

    def where(self) -> Where:
        """Return them as the keywords of an error."""
        return {"model": self.model, "host": self.host}
