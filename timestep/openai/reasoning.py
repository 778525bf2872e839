"""The ``reasoning_details`` of an answer, put together from their pieces. Pure.

Some servers want them back with the turn they came with, signatures and all: a model that calls a tool
goes on thinking from them. Pieces with the same type and index belong to one entry, until another id
begins another; a piece without an index is an entry of its own. Their text is joined, and of every other
field the last value counts. An entry with NaN or Infinity is left out, because it cannot be sent.

Source: https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11.
"""

from collections.abc import Mapping
from typing import Any, cast

from timestep.net.encoding import is_finite
from timestep.net.foreign import WrongShape, mapping

_JOINED = ("text", "summary", "data")
_MOST = 1_000
"""Of the entries of an answer."""


class _Pieces(list[str]):
    """Text that comes in pieces."""


class ReasoningDetails:
    """The entries of one answer, in the order in which they began."""

    __slots__ = ("_entries", "_open")

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._open: dict[tuple[str, int], dict[str, Any]] = {}

    def add(self, pieces: object) -> None:
        """Add the value of one delta; what is not a list of objects is left out."""
        if isinstance(pieces, list):
            for piece in map(mapping, cast("list[object]", pieces)):
                if piece:
                    self._add(piece)

    def _add(self, piece: Mapping[str, Any]) -> None:
        entry = self._entry(piece)
        for name, value in piece.items():
            if name not in _JOINED or not isinstance(value, str):
                if value is not None:
                    entry[name] = value
            elif isinstance(pieces := entry.get(name), _Pieces):
                pieces.append(value)
            else:
                entry[name] = _Pieces([value])

    def _entry(self, piece: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry that *piece* belongs to; a new one when it begins an entry."""
        index, new_id = piece.get("index"), piece.get("id")
        # A server may send indexes that collide in a dict, and then every look-up takes longer.
        has_place = type(index) is int and 0 <= index < _MOST
        place = (str(piece.get("type")), cast("int", index)) if has_place else None
        known = self._open.get(place) if place else None
        if known is not None and (not new_id or known.get("id") in (None, new_id)):
            return known
        if len(self._entries) >= _MOST:
            raise WrongShape("too many reasoning_details in one answer")
        entry: dict[str, Any] = {}
        self._entries.append(entry)
        if place:
            self._open[place] = entry
        return entry

    def take(self) -> list[dict[str, Any]]:
        """Return the entries, whole."""
        entries, self._entries, self._open = self._entries, [], {}
        whole = (
            {
                name: "".join(value) if isinstance(value, _Pieces) else value
                for name, value in entry.items()
            }
            for entry in entries
        )
        return [entry for entry in whole if is_finite(entry)]
