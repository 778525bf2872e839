"""The ``reasoning_details`` of an answer, put together from their pieces. Pure.

Some servers want them back with the turn they came with, signatures and all: a model that calls a tool
goes on thinking from them. Pieces with the same type and index belong to one entry; a piece
without an index is an entry of its own. Their text is joined, and of every other field the last value counts.

Source: https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11.
"""

from collections.abc import Mapping
from typing import Any, cast

from timestep.openai.errors import mapping

_JOINED = ("text", "summary", "data")


class ReasoningDetails:
    """The entries of one answer, in the order in which they began."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], dict[str, Any]] = {}

    def add(self, pieces: object) -> None:
        """Add the value of one delta; what is not a list of objects is left out."""
        if isinstance(pieces, list):
            for piece in map(mapping, cast("list[object]", pieces)):
                if piece:
                    self._add(piece)

    def _add(self, piece: Mapping[str, Any]) -> None:
        index = piece.get("index")
        place = index if isinstance(index, int) else -1 - len(self._entries)
        entry = self._entries.setdefault((str(piece.get("type")), place), {})
        for name, value in piece.items():
            if name in _JOINED and isinstance(value, str):
                entry.setdefault(name, []).append(value)
            elif name not in _JOINED and value is not None:
                entry[name] = value

    def take(self) -> list[dict[str, Any]]:
        """Return the entries, whole."""
        entries, self._entries = list(self._entries.values()), {}
        return [
            {name: "".join(value) if name in _JOINED else value for name, value in entry.items()}
            for entry in entries
        ]
