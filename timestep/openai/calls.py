"""Tool calls of a chat completion, put together from their pieces. Pure.

The pieces of a call share an index. Servers that leave the index out, or count wrong, are told apart by
the call's id, then by its name: a piece with another id, or with a name after the arguments are whole,
begins another call. Servers that repeat id and name in every piece repeat the same call.

A piece is looked for in two places only, the call with its id and the last call with its index, and
arguments are scanned once, so that the work is linear in the bytes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from timestep.answer.chunks import Call, arguments_of
from timestep.net.encoding import is_finite
from timestep.net.json_parts import WrongShape, mapping
from timestep.net.limits import MOST_CALLS

_STRUCTURE = re.compile(r"""["\\{}\[\]]""")


@dataclass(slots=True)
class _Scan:
    """Tells when JSON that comes in pieces is complete."""

    pieces: int = 0
    depth: int = 0
    has_begun: bool = False
    is_text: bool = False
    is_escape: bool = False

    def is_complete(self, pieces: list[str]) -> bool:
        """True when *pieces*, of which those seen before are not read again, are a whole value."""
        for piece in pieces[self.pieces :]:
            self._add(piece)
        self.pieces = len(pieces)
        return self.has_begun and self.depth <= 0 and not self.is_text

    def _add(self, piece: str) -> None:
        self.has_begun = self.has_begun or bool(piece.strip())
        escaped = 0 if self.is_escape else -1  # where a character means only itself
        self.is_escape = False
        for found in _STRUCTURE.finditer(piece):
            at, sign = found.start(), found[0]
            if at == escaped:
                continue
            if sign == "\\":
                escaped = at + 1
                self.is_escape = escaped == len(piece)
            elif sign == '"':
                self.is_text = not self.is_text
            elif not self.is_text:
                self.depth += 1 if sign in "{[" else -1


@dataclass(slots=True)
class _Pending:
    """One call so far."""

    index: object
    call_id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list[str])
    value: object = None  # arguments that came as an object and not as text
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    scan: _Scan = field(default_factory=_Scan)

    def is_continued_by(self, index: object, call_id: object, name: object) -> bool:
        """True when a piece with *index*, *call_id* and *name* belongs to this call."""
        if index is not None and index != self.index:
            return False
        if call_id and self.call_id and call_id != self.call_id:
            return False
        if name and self.name and not call_id:
            return name == self.name and not self.is_complete()
        return True

    def is_complete(self) -> bool:
        """True when its arguments are a whole value."""
        return self.value is not None or self.scan.is_complete(self.pieces)


class PendingCalls:
    """The calls of one answer, which are whole when the answer ends."""

    __slots__ = ("_by_id", "_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_Pending] = []
        self._by_id: dict[str, _Pending] = {}
        self._by_index: dict[object, _Pending] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def are_whole(self) -> bool:
        """True when the arguments of every call are a whole value of JSON, by their brackets."""
        return all(call.is_complete() for call in self._calls)

    def add(self, piece: Mapping[str, Any]) -> None:
        """Add one entry of ``tool_calls``."""
        function = mapping(piece.get("function"))
        index, call_id, name = piece.get("index"), piece.get("id"), function.get("name")
        call = self._call(index if isinstance(index, int) else None, call_id, name)
        if isinstance(call_id, str) and call_id:
            call.call_id = call_id
            self._by_id[call_id] = call
        if isinstance(name, str) and name:
            call.name = name
        arguments = arguments_of(function)
        if isinstance(arguments, str):
            call.pieces.append(arguments)
        elif arguments is not None:
            call.value = arguments
        if (extra := piece.get("extra_content")) and is_finite(extra):  # else it cannot go back
            call.extra["extra_content"] = extra

    def _call(self, index: int | None, call_id: object, name: object) -> _Pending:
        """Return the call that a piece belongs to; a new one when it begins a call."""
        known = self._by_id.get(call_id) if isinstance(call_id, str) else None
        latest = self._calls[-1] if index is None and self._calls else self._by_index.get(index)
        for call in (known, latest):
            if call is not None and call.is_continued_by(index, call_id, name):
                return call
        if len(self._calls) >= MOST_CALLS:
            raise WrongShape(f"more than {MOST_CALLS:,} tool calls in one answer")
        call = _Pending(index)
        self._calls.append(call)
        self._by_index[index] = call
        return call

    def take(self) -> list[Call]:
        """Return the calls in the order in which they began."""
        calls, self._calls = self._calls, []
        self._by_id, self._by_index = {}, {}
        return [
            Call(
                each.name,
                each.value if each.value is not None else "".join(each.pieces),
                each.call_id,
                each.extra,
            )
            for each in calls
        ]
