"""The answers of a model on OpenAI's wires: what it says becomes chunks of either API.

Both APIs send a chunk for each piece of what the model says, and one more for the end, so that a
fault after so many chunks means the same as on Ollama's wire.

Source: openai 3.57 ``types/chat/chat_completion_chunk.py`` and ``types/chat/chat_completion.py``.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from timestep.testing import http
from timestep.testing.answers import Said, Ticks
from timestep.testing.faults import ErrorLine, Fault
from timestep.testing.http import Request, Response
from timestep.testing.openai.responses import ResponseEvents

Json: TypeAlias = dict[str, Any]

SSE_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
CREATED = 1_767_225_600
"""2026-01-01, when every answer of a test server was made."""


def dumps(value: object) -> bytes:
    """Return *value* as compact JSON in UTF-8: only what JSON wants escaped is escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def event(fields: Mapping[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + dumps(fields) + b"\n\n"


@dataclass(frozen=True)
class ChatReply(Said):
    """One answer of a model to ``/chat/completions`` or ``/responses``.

    Attributes:
        refusal: The words in which the model refuses to answer, instead of *text*.
        call_pieces: In how many chunks the arguments of each call come.
        finish_reason: ``"stop"``, ``"length"``, ``"content_filter"``, ``"tool_calls"``; the one that
            fits when empty; ``None`` leaves it null.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the answer; by default one a chunk.
        usage: More counts, such as ``{"prompt_tokens_details": {"cached_tokens": 5}}``. A stream of
            chat completions has counts only when the request asks for them.
        thinking_field: Where the thinking stands: ``"reasoning_content"`` or ``"reasoning"``.
        done: Whether a stream of chat completions ends with ``[DONE]``.
    """

    refusal: str = ""
    call_pieces: int = 1
    finish_reason: str | None = ""
    prompt_tokens: int = 26
    completion_tokens: int | None = None
    usage: Mapping[str, Any] | None = None
    thinking_field: str = "reasoning_content"
    done: bool = True

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the response to *request*, on the wire and in the form that it asks for."""
        is_streamed = request.json.get("stream") is True
        if self.fails_at_once(is_streamed=is_streamed):
            body = dumps(error_of(500, self.error_text))
            return Response(500, (("Content-Type", http.JSON_TYPE),), [body], delay=self.delay)
        if request.path.endswith("/responses"):
            return self._response(request, ticks, is_streamed=is_streamed)
        chunks = self._chunks(request.json, ticks)
        if not is_streamed:
            return self.whole(
                chunks, lambda seen: dumps(completion(seen if self.ends else seen[:-1]))
            )
        return self._streamed(
            self._events(request.json, chunks), event(error_of(500, self.error_text))
        )

    @property
    def reason(self) -> str | None:
        """The finish reason."""
        if self.finish_reason == "":
            return "tool_calls" if self.tool_calls else "stop"
        return self.finish_reason

    def _streamed(self, pieces: Iterable[bytes], error: bytes) -> Response:
        headers = (("Content-Type", SSE_TYPE),)
        response = Response(200, headers, pieces, None, self.delay, self.interval)
        faults: list[Fault] = [
            replace(fault, piece=error) if isinstance(fault, ErrorLine) else fault
            for fault in self.faults
        ]
        return response.with_faults(faults)

    def _chunks(self, chat: Mapping[str, Any], ticks: Ticks) -> Iterator[Json]:
        head: Json = {
            "id": f"chatcmpl-{ticks.call_id()[5:]}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": chat.get("model", ""),
        }
        if self.chunks is not None:
            for chunk in self.chunks:
                yield {**head, **chunk}
            return
        count = 0
        role: Json = {"role": "assistant"}
        for delta, logprobs in self._deltas(ticks):
            choice = {"index": 0, "delta": {**role, **delta}, "finish_reason": None}
            yield {**head, "choices": [{**choice, **_logprobs(logprobs)}]}
            count += 1
            role = {}
        end = {"index": 0, "delta": role, "finish_reason": self.reason}
        yield {**head, "choices": [end], "usage": self.counts(count)}

    def _deltas(self, ticks: Ticks) -> Iterator[tuple[Json, Sequence[Any] | None]]:
        for thought in self.thoughts():
            yield {self.thinking_field: thought}, None
        for piece, logprobs in self.words():
            yield {"content": piece}, logprobs
        if self.refusal:
            yield {"refusal": self.refusal}, None
        for index, call in enumerate(self._calls(ticks)):
            for part in self._call_pieces(index, call):
                yield {"tool_calls": [part]}, None

    def _calls(self, ticks: Ticks) -> Iterator[Json]:
        for call in self.tool_calls:
            if isinstance(call, Mapping):
                yield dict(call)
                continue
            name, arguments = call
            text = dumps(arguments).decode()
            known = {"id": ticks.call_id()} if self.call_ids else {}
            yield {**known, "type": "function", "function": {"name": name, "arguments": text}}

    def _call_pieces(self, index: int, call: Json) -> Iterator[Json]:
        arguments = call.get("function", {}).get("arguments")
        if self.call_pieces < 2 or not isinstance(arguments, str):  # noqa: PLR2004 - one piece is whole
            yield {"index": index, **call}
            return
        size = max(1, -(-len(arguments) // self.call_pieces))
        cuts = [arguments[at : at + size] for at in range(0, len(arguments), size)] or [""]
        yield {"index": index, **call, "function": {**call["function"], "arguments": cuts[0]}}
        for cut in cuts[1:]:
            yield {"index": index, "function": {"arguments": cut}}

    def counts(self, chunks: int) -> Json:
        """Return the usage of an answer of so many *chunks*."""
        answered = chunks if self.completion_tokens is None else self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": answered,
            "total_tokens": self.prompt_tokens + answered,
            **(self.usage or {}),
        }

    def _events(self, chat: Mapping[str, Any], chunks: Iterator[Json]) -> Iterator[bytes]:
        """A piece for each chunk; the last one holds the counts and the end too."""
        if self.chunks is not None:
            yield from map(event, chunks)
            if self.done:
                yield DONE
            return
        options: Mapping[str, Any] = chat.get("stream_options") or {}
        asks = bool(options.get("include_usage"))
        for chunk in chunks:
            if (usage := chunk.pop("usage", None)) is None:
                yield event(chunk)
                continue
            end = event(chunk)
            if asks:
                end += event({**chunk, "choices": [], "usage": usage})
            yield end + (DONE if self.done else b"")

    def _response(self, request: Request, ticks: Ticks, *, is_streamed: bool) -> Response:
        events = ResponseEvents(request.json, ticks, CREATED)
        if not is_streamed:

            def folded(seen: Sequence[Mapping[str, Any]]) -> bytes:
                return dumps(events.response)

            return self.whole(({} for _ in self._spoken(events, ticks)), folded)
        error = events.error(self.error_text)
        return self._streamed((events.take() for _ in self._spoken(events, ticks)), error)

    def _spoken(self, events: ResponseEvents, ticks: Ticks) -> Iterator[None]:
        """Tell *events* what the model says, a step for each chunk."""
        count = 0
        for delta, _ in self._deltas(ticks):
            events.add(delta, self.thinking_field)
            count += 1
            yield
        events.end(self.reason, self.counts(count))
        yield


def error_of(
    status: int, message: object, *, param: str | None = None, code: str | None = None, **more: Any
) -> Json:
    """Return the body of an error, as OpenAI's server writes it."""
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(status, "server_error" if status >= 500 else _INVALID),  # noqa: PLR2004 - HTTP's own number
            "param": param,
            "code": code or _CODES.get(status),
            **more,
        }
    }


_INVALID = "invalid_request_error"
_TYPES = {429: "requests"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def _logprobs(entries: Sequence[Any] | None) -> Json:
    return {} if entries is None else {"logprobs": {"content": list(entries), "refusal": None}}


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
