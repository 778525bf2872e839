"""One answer on the Responses wire: the events in their order, and the object they add up to.

Source: openai 3.57 ``types/responses/response_stream_event.py``.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from timestep.testing.answers import Ticks

Json: TypeAlias = dict[str, Any]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FROM_REQUEST: Json = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}


class ResponseEvents:
    """Builds the events of one response."""

    def __init__(self, request: Mapping[str, Any], ticks: Ticks, created: int) -> None:
        self._ticks = ticks
        self._waiting: list[bytes] = []
        self._number = 0
        self._open: Json | None = None
        self.response: Json = {
            "id": self._id("resp"),
            "object": "response",
            "created_at": created,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "model": request.get("model", ""),
            "output": [],
            **{name: request.get(name, default) for name, default in _FROM_REQUEST.items()},
        }
        self._emit("response.created", response=self.response)
        self._emit("response.in_progress", response=self.response)

    def take(self) -> bytes:
        """Return the events since the last call."""
        taken, self._waiting = b"".join(self._waiting), []
        return taken

    def error(self, message: str) -> bytes:
        """Return the event of an error in the middle of the stream."""
        fields = {"code": "server_error", "message": message, "param": None}
        return _event("error", {**fields, "sequence_number": self._number})

    def add(self, delta: Mapping[str, Any], thinking_field: str) -> None:
        """Add what *delta*, of a chat completion, says."""
        if text := delta.get(thinking_field):
            item = self._begin("reasoning", summary=[], content=[])
            self._write(item, "reasoning_text", text)
        elif "content" in delta:
            item = self._begin("message", role="assistant", content=[])
            self._write(item, "output_text", delta["content"])
        elif text := delta.get("refusal"):
            item = self._begin("message", role="assistant", content=[])
            self._write(item, "refusal", text)
        else:
            self._call(delta["tool_calls"][0])

    def end(self, reason: str | None, usage: Mapping[str, Any]) -> None:
        """End the response with *reason*, a finish reason, and *usage*, of a chat completion."""
        self._close()
        why = _INCOMPLETE.get(str(reason))
        self.response["status"] = "completed" if why is None else "incomplete"
        self.response["incomplete_details"] = why and {"reason": why}
        self.response["usage"] = _usage(usage)
        self._emit(f"response.{self.response['status']}", response=self.response)

    def _call(self, piece: Mapping[str, Any]) -> None:
        function: Mapping[str, Any] = piece.get("function", {})
        if "name" in function:
            self._close()
            item = self._begin(
                "function_call",
                call_id=piece.get("id") or self._ticks.call_id(),
                name=function["name"],
                arguments="",
            )
        else:
            item = self._open or {}
        arguments: str = function.get("arguments", "")
        item["arguments"] += arguments
        self._at(item, "response.function_call_arguments.delta", delta=arguments)

    def _begin(self, kind: str, **fields: Any) -> Json:
        if self._open is not None and self._open["type"] == kind:
            return self._open
        self._close()
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        item = {"id": self._id(prefix), "type": kind, "status": "in_progress", **fields}
        self._open = item
        self.response["output"].append(item)
        self._emit("response.output_item.added", output_index=self._index, item=item)
        return item

    def _write(self, item: Json, kind: str, text: str) -> None:
        parts: list[Json] = item["content"]
        field = _field(kind)
        if not parts or parts[-1]["type"] != kind:
            more: Json = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
            parts.append({"type": kind, field: "", **more})
            self._at_part(item, "response.content_part.added", part=parts[-1])
        parts[-1][field] += text
        self._at_part(item, f"response.{kind}.delta", delta=text, **_more(kind))

    def _close(self) -> None:
        item, self._open = self._open, None
        if item is None:
            return
        if item["type"] == "function_call":
            done = {"arguments": item["arguments"], "name": item["name"]}
            self._at(item, "response.function_call_arguments.done", **done)
        for part in item.get("content", ()):
            kind = part["type"]
            said = {_field(kind): part[_field(kind)], **_more(kind)}
            self._at_part(item, f"response.{kind}.done", **said)
            self._at_part(item, "response.content_part.done", part=part)
        item["status"] = "completed"
        self._emit("response.output_item.done", output_index=self._index, item=item)

    @property
    def _index(self) -> int:
        return len(self.response["output"]) - 1

    def _at(self, item: Json, kind: str, **fields: Any) -> None:
        self._emit(kind, item_id=item["id"], output_index=self._index, **fields)

    def _at_part(self, item: Json, kind: str, **fields: Any) -> None:
        self._at(item, kind, content_index=len(item["content"]) - 1, **fields)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._waiting.append(_event(kind, {"sequence_number": self._number, **fields}))
        self._number += 1

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._ticks.call_id()[5:]}"


def _event(kind: str, fields: Mapping[str, Any]) -> bytes:
    text = json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode(errors="replace")


def _field(kind: str) -> str:
    return "refusal" if kind == "refusal" else "text"


def _more(kind: str) -> Json:
    return {"logprobs": []} if kind == "output_text" else {}


def _usage(usage: Mapping[str, Any]) -> Json:
    prompt: Json = usage.get("prompt_tokens_details") or {}
    completion: Json = usage.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": prompt.get("cached_tokens", 0),
            "cache_write_tokens": 0,
        },
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": completion.get("reasoning_tokens", 0)},
        "total_tokens": usage["total_tokens"],
    }
