"""The answers a test can put in the queue, and how each becomes bytes."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias, cast

from timestep.testing import gojson, http
from timestep.testing.arguments import typed_arguments
from timestep.testing.faults import ErrorLine, Fault, NoDone
from timestep.testing.http import Request, Response

ToolCall: TypeAlias = tuple[str, Mapping[str, Any]] | Mapping[str, Any]

_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 8
_START = datetime(2026, 1, 1)  # noqa: DTZ001 - the Z is written by hand, as Go does


class Answer(Protocol):
    """Anything that can be in the queue."""

    def respond(self, request: Request, ticks: "Ticks") -> Response:
        """Return the response to *request*."""
        ...


class Ticks:
    """What differs from answer to answer on a real server, made repeatable.

    Times are a millisecond apart and call ids never repeat, in an order that is the same in
    every run.
    """

    def __init__(self) -> None:
        self._times = itertools.count()
        self._calls = itertools.count()

    def now(self) -> str:
        """Return the next time, in RFC 3339 with ``Z``."""
        moment = _START + timedelta(milliseconds=next(self._times))
        return moment.isoformat(timespec="microseconds").rstrip("0").rstrip(".") + "Z"

    def call_id(self) -> str:
        """Return the next tool-call id: ``call_`` and eight of ``a-z0-9``, as the real server makes them."""
        # A multiplier prime to the number of ids makes neighbours look unlike each other.
        number = (next(self._calls) + 1) * 1_618_033_988_749 % len(_ID_LETTERS) ** _ID_LENGTH
        letters = ""
        for _ in range(_ID_LENGTH):
            number, digit = divmod(number, len(_ID_LETTERS))
            letters += _ID_LETTERS[digit]
        return f"call_{letters}"


@dataclass(frozen=True)
class Said:
    """What a model says, on whatever wire.

    Attributes:
        text: What the model says.
        thinking: What it thinks before that.
        tool_calls: The calls it makes: ``(name, arguments)`` each, or the JSON object that stands
            in ``tool_calls`` on the wire.
        pieces: The text's chunks; by default a chunk a word. May be endless.
        call_ids: Whether calls given as tuples get ids; some servers send none.
        logprobs: One entry a chunk of text, or one list of entries a chunk.
        chunks: The exact chunks instead of all of the above: any JSON objects. What every chunk
            of the wire has, such as the model's name, is filled in where it is missing.
        delay: Seconds of silence before the first byte.
        interval: Seconds of silence before every further chunk.
        faults: What goes wrong meanwhile.
    """

    text: str = ""
    thinking: str = ""
    tool_calls: Sequence[ToolCall] = ()
    pieces: Iterable[str] | None = None
    call_ids: bool = True
    logprobs: Sequence[Any] = ()
    chunks: Iterable[Mapping[str, Any]] | None = None
    delay: float = 0.0
    interval: float = 0.0
    faults: Sequence[Fault] = ()

    def __post_init__(self) -> None:
        """Refuse chunks that are not JSON objects, as far as they are known already."""
        if isinstance(self.chunks, Sequence):
            given = cast("Sequence[object]", self.chunks)
            wrong = [chunk for chunk in given if not isinstance(chunk, Mapping)]
            if wrong:
                raise TypeError(f"a chunk is a mapping, not {wrong[0]!r}")

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the response to *request*."""
        raise NotImplementedError

    def thoughts(self) -> list[str]:
        """Return the thinking in its chunks."""
        return _TOKEN.findall(self.thinking)

    def words(self) -> Iterator[tuple[str, Sequence[Any] | None]]:
        """Return the text in its chunks, each with its logprobs."""
        logprobs = iter(self.logprobs)
        for piece in _TOKEN.findall(self.text) if self.pieces is None else self.pieces:
            entry = next(logprobs, None)
            yield piece, entry if entry is None or _is_list(entry) else [entry]

    def whole(
        self,
        chunks: Iterable[Mapping[str, Any]],
        fold: Callable[[Sequence[Mapping[str, Any]]], bytes],
    ) -> Response:
        """Return the response that is *chunks*, folded into one document."""
        pieces: Iterable[bytes] = _once_complete(chunks, fold)
        length = None
        if all(
            given is None or isinstance(given, Sequence) for given in (self.pieces, self.chunks)
        ):
            pieces = list(pieces)
            length = http.known_length(pieces[-1])
        headers = (("Content-Type", http.JSON_TYPE),)
        response = Response(200, headers, pieces, length, self.delay)
        # A document has no lines to lose or to add.
        about_lines = (NoDone, ErrorLine)
        return response.with_faults([f for f in self.faults if not isinstance(f, about_lines)])

    @property
    def error(self) -> ErrorLine | None:
        """The first fault that is an error in the place of an answer."""
        return next((fault for fault in self.faults if isinstance(fault, ErrorLine)), None)

    @property
    def ends(self) -> bool:
        """False when the answer ends without its last chunk."""
        return not any(isinstance(fault, NoDone) for fault in self.faults)


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
        chunks = self._chunks(request.json, ticks)
        if request.json.get("stream") is False:
            return self._whole(request, chunks)
        if any(isinstance(fault, ErrorLine) and fault.after == 0 for fault in self.faults):
            return self._failed()
        headers = (("Content-Type", http.NDJSON_TYPE),)
        lines = map(gojson.line, chunks)
        response = Response(200, headers, lines, None, self.delay, self.interval)
        return response.with_faults(self.faults)

    def _whole(self, request: Request, chunks: Iterator[Mapping[str, Any]]) -> Response:
        if self.error is not None:
            return self._failed()
        with_calls = bool(request.json.get("tools"))

        def fold(seen: Sequence[Mapping[str, Any]]) -> bytes:
            return gojson.dumps(aggregate(seen, with_calls=with_calls, ends=self.ends))

        return self.whole(chunks, fold)

    def _failed(self) -> Response:
        error = self.error or ErrorLine()
        body = gojson.dumps({"error": error.message})
        return Response(500, (("Content-Type", "application/json"),), [body], delay=self.delay)

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
            arguments = typed_arguments(arguments, name, tools)
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


@dataclass(frozen=True)
class Failure:
    """An answer that is not the model's: an error, a redirect, a page of a proxy.

    Attributes:
        status: The HTTP status code.
        error: The text, or any JSON, under ``"error"``.
        body: The whole body instead; its type is ``text/plain`` unless *headers* say otherwise.
        headers: Sent besides ``Date`` and the framing.
        fields: Further fields beside ``"error"``, such as ``signin_url``.
        faults: What goes wrong meanwhile.
    """

    status: int
    error: Any = ""
    body: bytes | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    faults: Sequence[Fault] = ()

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the response, the same for every request."""
        if self.body is None:
            content_type = http.JSON_TYPE
            body = gojson.dumps({"error": self.error, **self.fields})
        else:
            content_type = http.TEXT_TYPE
            body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = {name.title(): value for name, value in self.headers.items()}
        content_type = headers.pop("Content-Type", content_type)
        response = http.whole(self.status, content_type, body, *headers.items())
        return response.with_faults(self.faults)


@dataclass(frozen=True)
class Computed:
    """An answer that a function makes from the request.

    Attributes:
        make: Takes the request; returns the text, or any other answer. Runs in the server's
            thread: it must not wait.
        say: Makes an answer of a text.
    """

    make: Callable[[Request], "str | Answer"]
    say: Callable[[str], "Answer"] = Reply

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the response of what the function returns."""
        answer = self.make(request)
        if isinstance(answer, str):
            answer = self.say(answer)
        return answer.respond(request, ticks)


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


def _once_complete(
    chunks: Iterable[Mapping[str, Any]], fold: Callable[[Sequence[Mapping[str, Any]]], bytes]
) -> Iterator[bytes]:
    # An empty piece for each chunk: faults count them, and the server sees the client leave.
    seen: list[Mapping[str, Any]] = []
    for chunk in chunks:
        seen.append(chunk)
        yield b""
    yield fold(seen)


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


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(cast("object", value), str)
