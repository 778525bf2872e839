"""The one object that a server makes of the chunks of a chat completion."""

from collections.abc import Mapping, Sequence
from typing import Any


def completion(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the answer that *chunks* add up to; choices are told apart by their index."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if name != "choices"}
        for choice in chunk.get("choices") or ():
            _add(choices.setdefault(choice.get("index", 0), _new(choice.get("index", 0))), choice)
    whole["object"] = "chat.completion"
    whole["choices"] = [choices[index] for index in sorted(choices)] or [_new(0)]
    return whole


def _new(index: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": None}
    return {"index": index, "message": message, "finish_reason": None}


def _add(choice: dict[str, Any], chunk: Mapping[str, Any]) -> None:
    message: dict[str, Any] = choice["message"]
    said: Mapping[str, Any] = chunk.get("delta") or chunk.get("message") or {}
    for name, value in said.items():
        if name == "tool_calls":
            for call in value:
                _add_call(message.setdefault("tool_calls", []), call)
        elif name != "role" and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif name != "role" and value is not None:
            message[name] = value
    if logprobs := chunk.get("logprobs"):
        entries: list[Any] = choice.setdefault("logprobs", {"content": []})["content"]
        entries.extend(logprobs["content"])
    if reason := chunk.get("finish_reason"):
        choice["finish_reason"] = reason


def _add_call(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    index: int = piece.get("index", len(calls))
    if index >= len(calls):
        calls.append({name: value for name, value in piece.items() if name != "index"})
        return
    arguments = piece.get("function", {}).get("arguments")
    function: dict[str, Any] = {**calls[index].get("function", {})}
    if isinstance(arguments, str):
        function["arguments"] = function.get("arguments", "") + arguments
    calls[index]["function"] = function
