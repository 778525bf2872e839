"""Tool calls of a chat completion, put together from their pieces. Pure.

The pieces of a call share an index. Servers that leave the index out, or count wrong, are told apart by
the call's id, then by its name: a piece with another id, or with a name after the arguments are whole,
begins another call. Servers that repeat id and name in every piece repeat the same call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from jiter import from_json

from timestep.answer.chunks import Call
from timestep.openai.errors import mapping


@dataclass(slots=True)
class _Pending:
    """One call so far."""

    index: object
    call_id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list[str])
    value: object = None  # arguments that came as an object and not as text
    extra: dict[str, Any] = field(default_factory=dict[str, Any])

    def is_continued_by(self, index: object, call_id: object, name: object) -> bool:
        """True when a piece with *index*, *call_id* and *name* belongs to this call."""
        if index is not None and index != self.index:
            return False
        if call_id and self.call_id and call_id != self.call_id:
            return False
        if name and self.name and not call_id:
            return name == self.name and not self._is_complete()
        return True

    def _is_complete(self) -> bool:
        if self.value is not None:
            return True
        try:
            from_json("".join(self.pieces).encode())
        except ValueError:
            return False
        return True


class PendingCalls:
    """The calls of one answer, which are whole when the answer ends."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[_Pending] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, piece: Mapping[str, Any]) -> None:
        """Add one entry of ``tool_calls``."""
        function = mapping(piece.get("function"))
        index, call_id, name = piece.get("index"), piece.get("id"), function.get("name")
        call = next(
            (each for each in reversed(self._calls) if each.is_continued_by(index, call_id, name)),
            None,
        )
        if call is None:
            call = _Pending(index)
            self._calls.append(call)
        if isinstance(call_id, str) and call_id:
            call.call_id = call_id
        if isinstance(name, str) and name:
            call.name = name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.pieces.append(arguments)
        elif arguments is not None:
            call.value = cast("object", arguments)
        if extra := piece.get("extra_content"):
            call.extra["extra_content"] = extra

    def take(self) -> list[Call]:
        """Return the calls in the order in which they began."""
        calls, self._calls = self._calls, []
        return [
            Call(
                each.name,
                each.value if each.value is not None else "".join(each.pieces),
                each.call_id,
                each.extra,
            )
            for each in calls
        ]
