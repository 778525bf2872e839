"""What the benchmark asks: the same conversation as Ollama's messages and as the SDK's items."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.answers import ARGUMENTS, TOOL

if TYPE_CHECKING:
    from agents import FunctionTool, TResponseInputItem

_QUESTION = "What will the weather be like in Paris over the next three days?"
_RESULT = json.dumps({"city": "Paris", "forecast": ["sunny", "cloudy", "rain"], "unit": "celsius"})
_REPLY = "It will be sunny at first, then cloudy, and on the third day it will rain in Paris."
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where the weather is wanted"},
        "days": {"type": "integer", "description": "How many days ahead"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Ask:
    """One model call.

    Attributes:
        model: Says what is answered; see `bench.answers`.
        items: How long the history is.
        tool_count: How many tools are offered.
    """

    model: str
    items: int = 1
    tool_count: int = 0

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The history for Ollama."""
        return [_message(number) for number in range(self.items)]

    @cached_property
    def functions(self) -> list[dict[str, Any]]:
        """The tools for Ollama."""
        return [_function(_tool_name(number)) for number in range(self.tool_count)]

    @cached_property
    def sdk_items(self) -> "list[TResponseInputItem]":
        """The history for the Agents SDK."""
        items: list[Any] = [_item(number) for number in range(self.items)]
        return items

    @cached_property
    def sdk_tools(self) -> "list[FunctionTool]":
        """The tools for the Agents SDK."""
        from agents import FunctionTool  # noqa: PLC0415 - a bare client must not pay for it

        async def invoke(_context: object, _arguments: str) -> str:
            return _RESULT

        return [
            FunctionTool(
                name=_tool_name(number),
                description="The weather of the next days",
                params_json_schema=_SCHEMA,
                on_invoke_tool=invoke,
            )
            for number in range(self.tool_count)
        ]


def tool_result(call_name: str) -> dict[str, Any]:
    """What an agent without the SDK sends back for a call."""
    return {"role": "tool", "content": _RESULT, "tool_name": call_name}


def _tool_name(number: int) -> str:
    return TOOL if number == 0 else f"{TOOL}_{number}"


def _function(name: str) -> dict[str, Any]:
    described = {"name": name, "description": "The weather of the next days", "parameters": _SCHEMA}
    return {"type": "function", "function": described}


def _message(number: int) -> dict[str, Any]:
    """A turn is four: question, call, result, reply."""
    match number % 4:
        case 0:
            return {"role": "user", "content": _QUESTION}
        case 1:
            function = {"name": TOOL, "arguments": ARGUMENTS}
            return {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}
        case 2:
            return tool_result(TOOL)
        case _:
            return {"role": "assistant", "content": _REPLY}


def _item(number: int) -> dict[str, Any]:
    call_id = f"call_{number // 4:024}"
    match number % 4:
        case 0:
            return {"role": "user", "content": _QUESTION}
        case 1:
            arguments = json.dumps(ARGUMENTS)
            call = {"call_id": call_id, "name": TOOL, "arguments": arguments}
            return {"type": "function_call", "id": f"fc_{number}", **call}
        case 2:
            return {"type": "function_call_output", "call_id": call_id, "output": _RESULT}
        case _:
            part: dict[str, Any] = {"type": "output_text", "text": _REPLY, "annotations": []}
            message = {"type": "message", "id": f"msg_{number}", "role": "assistant"}
            return {**message, "status": "completed", "content": [part]}
