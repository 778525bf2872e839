"""Says in words to a model what a wire has no field for. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from agents import AgentOutputSchemaBase

from timestep.answer.rules import Repair

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


def as_json(value: object) -> str:
    """Return *value* as JSON. What JSON cannot express becomes text."""
    return json.dumps(value, ensure_ascii=False, default=str)
