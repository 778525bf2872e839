"""The answers of a model on Ollama's wire.

The formats that look like XML (qwen3-coder, qwen3.5, glm-4.6 and others) hold arguments as text. The
type of the property decides what a text becomes, or the types of the arms of its ``anyOf``, one level
deep. Without a type it stays text.

Source: model/parsers/qwen3coder.go (parseValue) at v0.33.0-rc2.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timestep.net.json_parts import entries, mapping
from timestep.testing import gojson, http
from timestep.testing.answers import Said, Ticks, ToolCall
from timestep.testing.catalog import properties_of
from timestep.testing.http import Request, Response


@dataclass(frozen=True)
class Reply(Said):
    """One answer of a model to ``/api/chat``.

    Attributes:
        calls_on_done: All calls on the last chunk, as with gpt-oss and GGUFs without a template,
            instead of one chunk each.
        text_arguments: Whether the model writes arguments as text, as in formats that look like
            XML. The server gives each one the type in the request's tools; without a type there it
            stays text. Only for calls given as tuples.
        done_reason: ``"stop"`` or ``"length"``, with calls too, as when a parser completes half a
            call at its end; ``"load"`` or ``"unload"``, which is not an answer; ``None`` leaves it
            out.
        prompt_eval_count: Tokens of the prompt; 0 leaves it out, as on the real server.
        eval_count: Tokens of the answer; by default one a chunk.
    """

    calls_on_done: bool = False
    text_arguments: bool = False
    done_reason: str | None = "stop"
    prompt_eval_count: int = 26
    eval_count: int | None = None

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the response to *request*: streamed, or one object if it asks for that."""
        is_streamed = request.json.get("stream") is not False
        if self.fails_at_once(is_streamed=is_streamed):
            body = gojson.dumps({"error": self.error_text})
            return Response(500, (("Content-Type", "application/json"),), [body], delay=self.delay)
        chunks = self._chunks(request.json, ticks)
        if not is_streamed:
            with_calls = bool(request.json.get("tools"))
            return self.whole(
                chunks,
                lambda seen: gojson.dumps(aggregate(seen, with_calls=with_calls, ends=self.ends)),
            )
        headers = (("Content-Type", http.NDJSON_TYPE),)
        lines = map(gojson.line, chunks)
        response = Response(200, headers, lines, None, self.delay, self.interval)
        return response.with_faults(self.faults)

    def _chunks(self, chat: Mapping[str, Any], ticks: Ticks) -> Iterator[Mapping[str, Any]]:
        chunks = self._messages(chat, ticks) if self.chunks is None else self.chunks
        for chunk in chunks:
            model = chunk.get("model", chat.get("model", ""))
            head = {"model": model, "created_at": ticks.now()}
            yield {**head, **chunk}

    def _messages(self, chat: Mapping[str, Any], ticks: Ticks) -> Iterator[dict[str, Any]]:
        count = 0
        for thought in self.thoughts():
            count += 1
            yield _delta(thinking=thought)
        for piece, logprobs in self.words():
            count += 1
            extra = {} if logprobs is None else {"logprobs": logprobs}
            yield {**_delta(content=piece), **extra}
        tools: Sequence[Mapping[str, Any]] = chat.get("tools") or ()
        calls = [self._call(i, call, tools, ticks) for i, call in enumerate(self.tool_calls)]
        if not self.calls_on_done:
            for call in calls:
                count += 1
                yield _delta(tool_calls=[call])
            calls = []
        yield self._done(count, calls)

    def _call(
        self, index: int, call: ToolCall, tools: Sequence[Mapping[str, Any]], ticks: Ticks
    ) -> Mapping[str, Any]:
        if isinstance(call, Mapping):
            return call
        name, arguments = call
        if self.text_arguments:
            arguments = _typed_arguments(arguments, name, tools)
        head = {"id": ticks.call_id()} if self.call_ids else {}
        return {**head, "function": {"index": index, "name": name, "arguments": arguments}}

    def _done(self, count: int, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        eval_count = count if self.eval_count is None else self.eval_count
        metrics = {
            "total_duration": 11_000_000 + eval_count * 150_000,
            "load_duration": 7_000_000,
            "prompt_eval_count": self.prompt_eval_count,
            "prompt_eval_duration": 434_000,
            "eval_count": eval_count,
            "eval_duration": eval_count * 150_000,
        }
        return {
            **_delta(tool_calls=calls),
            "done": True,
            **({} if self.done_reason is None else {"done_reason": self.done_reason}),
            **{name: value for name, value in metrics.items() if value},
        }


def aggregate(
    chunks: Iterable[Mapping[str, Any]], *, with_calls: bool, ends: bool = True
) -> dict[str, Any]:
    """Return the one object the real server makes of *chunks* for ``"stream": false``.

    Content, thinking and logprobs are concatenated, tool calls only with *with_calls* (if the
    request had tools), the rest is the last chunk's; the last chunk is left out unless the
    stream *ends*. Source: server/routes.go, writeChatResponse.
    """
    chunks = list(chunks)
    if not ends:
        chunks = chunks[:-1]
    if not chunks:
        return _EMPTY
    messages = [chunk.get("message", {}) for chunk in chunks]
    thinking = "".join(message.get("thinking", "") for message in messages)
    answering = messages if with_calls else messages[-1:]
    calls = [call for message in answering for call in message.get("tool_calls", ())]
    logprobs = [entry for chunk in chunks for entry in chunk.get("logprobs", ())]
    message = {
        "role": messages[-1].get("role", ""),
        "content": "".join(message.get("content", "") for message in messages),
        **({"thinking": thinking} if thinking else {}),
        **({"tool_calls": calls} if calls else {}),
    }
    last = {**chunks[-1], "message": message, **({"logprobs": logprobs} if logprobs else {})}
    # A logprobs key that the last chunk lacks would otherwise stand behind the metrics.
    return {name: last.pop(name) for name in _WIRE_ORDER if name in last} | last


_EMPTY: dict[str, Any] = {
    "model": "",
    "created_at": "0001-01-01T00:00:00Z",
    "message": {"role": "", "content": ""},
    "done": False,
}


_WIRE_ORDER = ("model", "created_at", "message", "done", "done_reason", "logprobs")


def _delta(
    content: str = "", *, thinking: str = "", tool_calls: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    message = {
        "role": "assistant",
        "content": content,
        **({"thinking": thinking} if thinking else {}),
        **({"tool_calls": tool_calls} if tool_calls else {}),
    }
    return {"message": message, "done": False}


_PARSED: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def _typed_arguments(
    arguments: Mapping[str, Any], name: str, tools: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return *arguments* of a call to *name*, as the server reads them from their text."""
    called = [tool for tool in tools if mapping(tool.get("function")).get("name") == name]
    properties = properties_of(called[-1] if called else {})
    return {key: _typed(value, mapping(properties.get(key))) for key, value in arguments.items()}


def _types(schema: Mapping[str, Any]) -> list[str]:
    said: Any = schema.get("type") or []
    return [said] if isinstance(said, str) else list(said)


def _typed(value: Any, schema: Mapping[str, Any]) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    arms = [schema, *entries(schema.get("anyOf"))]
    for kind in (kind for arm in arms for kind in _types(arm)):
        is_boolean = isinstance(parsed, bool) and kind != "boolean"
        if kind in _PARSED and isinstance(parsed, _PARSED[kind]) and not is_boolean:
            return parsed
    return text
