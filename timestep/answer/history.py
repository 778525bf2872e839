"""Says in words to a model what a wire has no field for, and pairs calls with results. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from agents import AgentOutputSchemaBase

from timestep.answer.rules import Repair
from timestep.net.json_text import as_json

Message: TypeAlias = dict[str, Any]

_BOOKKEEPING = frozenset(
    {
        "call_id",
        "caller",
        "container_id",
        "created_by",
        "encrypted_content",
        "environment",
        "fingerprint",
        "id",
        "provider_data",
        "status",
        "type",
    }
)
"""The fields of a hosted tool's item that describe the item, not its work."""

CallT = TypeVar("CallT")
RESULT_ALONE = (
    "the role of a tool result without its call (it is sent as text; the server "
    "keeps no conversation, so send the whole history instead of auto_previous_response_id)"
)
CALL_ALONE = "the role of a tool call without its result (it is sent as text)"


def work_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a hosted tool's item that describe its work."""
    return {key: value for key, value in item.items() if key not in _BOOKKEEPING}


def told_item(item: Mapping[str, Any]) -> str:
    """Return the item of a hosted tool in words, because this model did not make the call."""
    work = {key: value for key, value in work_of(item).items() if value not in (None, "", [], {})}
    return f"[{item['type']}: {as_json(work)}]"


def told_call(name: str, arguments: object) -> str:
    """Return a call in words, as models without tool support write one."""
    return as_json({"name": name, "arguments": arguments})


def told_result(name: str, content: str) -> str:
    """Return the result of the tool *name* in words."""
    return f"Result of {name}: {content}"


def told_output(output: AgentOutputSchemaBase) -> str:
    """Return the schema of the final answer in words."""
    return (
        "When you give your final answer, answer with one JSON object and nothing else, that "
        f"matches this JSON schema:\n{as_json(output.json_schema())}"
    )


def told_repair(bad: Repair, tools: Sequence[str], schema: Mapping[str, Any]) -> str:
    """Return the request for a better answer than *bad*. It must match *schema*."""
    if bad.wants_call:
        names = " or ".join(tools)
        wanted = f"That was not a call to {names}: {bad.problem}. Call {names} now"
    else:
        wanted = f"That did not match the JSON schema: {bad.problem}. Give the answer again"
    ask = f"{wanted}, as one JSON object and nothing else, that matches this JSON schema:"
    return f"{ask}\n{as_json(schema)}"


def with_instructions(messages: list[Message], words: str) -> list[Message]:
    """Return *messages* with *words* at the end of the first system message."""
    if messages and messages[0]["role"] == "system":
        content = f"{messages[0]['content']}\n\n{words}"
        return [{**messages[0], "content": content}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


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
        """Return the tool's name for a result whose call is missing."""
        return self.names.get(call_id or "", "an earlier call")


def told_alone(name: str, arguments: object) -> str:
    """Return in words a call that has no result."""
    return f"[Call without a result: {told_call(name, arguments)}]"
