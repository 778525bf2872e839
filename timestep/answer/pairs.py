"""Pairs the calls and results of a history. Pure.

Servers refuse half a pair. So a call without a result, or a result without a call, becomes text.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from timestep.answer.told import told_call

CallT = TypeVar("CallT")

RESULT_ALONE = (
    "the role of a tool result without its call (it is sent as text; the server "
    "keeps no conversation, so send the whole history instead of auto_previous_response_id)"
)
CALL_ALONE = "the role of a tool call without its result (it is sent as text)"


class Pairs(Generic[CallT]):
    """The calls of a history, oldest first, and which of them wait for a result.

    A result belongs to the last call before it that has its id and no result yet.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # the name of the called tool by call id
        self._waiting: dict[str, list[CallT]] = {}

    def add_call(self, call_id: str, name: str, call: CallT) -> None:
        """Add *call*, which waits for its result."""
        self.names[call_id] = name
        self._waiting.setdefault(call_id, []).append(call)

    def add_result(self, call_id: str) -> bool:
        """Return True if a call waited for this result."""
        waiting = self._waiting.get(call_id)
        if not waiting:
            return False
        waiting.pop()
        return True

    def alone(self) -> Iterable[CallT]:
        """Return the calls that have no result."""
        return (call for calls in self._waiting.values() for call in calls)

    def called(self, call_id: str | None) -> str:
        """Return the name of the called tool, for the text of a result alone."""
        return self.names.get(call_id or "", "an earlier call")


def told_alone(name: str, arguments: object) -> str:
    """Return a call without a result in words."""
    return f"[Call without a result: {told_call(name, arguments)}]"
