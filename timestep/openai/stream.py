"""One answer of ``/chat/completions``, read into chunks. Pure.

A reader passes these states:

    unread    Nothing but white space has come.
    events    The body is a stream of server-sent events, as it was asked for.
    document  The body began as JSON or HTML does: the server answered whole, or with an error. It is
              kept to its end and read as one event.
    ended     The answer is over. Nothing that follows counts.

An answer ends at ``[DONE]`` behind a finish reason, or at the proper end of the HTTP body behind either
of the two. What ends otherwise broke off.

Source: openai 3.57 ``types/chat/chat_completion_chunk.py``; the recordings in ``tests/wire-openai``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from jiter import from_json

from timestep.answer.chunks import (
    Chunk,
    End,
    Failure,
    Refusal,
    Text,
    Thinking,
    TokenLogprobs,
    Usage,
)
from timestep.answer.events import read_logprobs
from timestep.errors import TimestepError
from timestep.net.limits import LONGEST, MOST_CALLS, MOST_VALUES, has_too_many_values
from timestep.net.origin import Origin
from timestep.openai.calls import PendingCalls, TooManyCalls
from timestep.openai.errors import broken, mapping, said_error
from timestep.openai.reasoning import ReasoningDetails
from timestep.openai.sse import EventSplitter, ServerSentEvent

_HUGE = 1e9
"""No call costs so many dollars; NaN and infinity are not costs either."""

_FAILED = {"error", "abort", "insufficient_system_resource"}
"""Finish reasons that say that the server gave up."""


class ChatReader:
    """Reads one answer.

    Something that is not part of an answer becomes a `Failure`, so that the chunks before it are not
    lost.

    Args:
        origin: Names the model and host in errors.
        url: Of the request, for errors.
    """

    def __init__(self, origin: Origin, url: str) -> None:
        self._origin = origin
        self._url = url
        self._events: EventSplitter | None = None
        self._document: bytearray | None = None
        self._calls = PendingCalls()
        self._details = ReasoningDetails()
        self._late: list[str] = []  # text behind the first piece of a call
        self._reason: str | None = None
        self._is_done = False  # [DONE] has come
        self._has_ended = False
        self._has_begun = False
        self._size = 0
        self._usage = Usage(requests=1)

    @property
    def is_whole(self) -> bool:
        """True once a finish reason has come: a connection that breaks then loses nothing."""
        return self._reason is not None

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks of the events that *data* completes."""
        self._size += len(data)
        if self._size > LONGEST and not self._has_ended:
            self._has_ended = True
            return [
                Failure(broken(f"sent more than {LONGEST:,} bytes for one answer", self._origin))
            ]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[Chunk]:
        if self._events is not None:
            return self._read_events(self._events, data)
        if self._document is None:
            data = data.lstrip()
            if not data:
                return []
            if not data.startswith((b"{", b"[", b"<")):
                self._events = EventSplitter()
                return self._feed(data)
            self._document = bytearray()
        self._document += data
        return []

    def _read_events(self, events: EventSplitter, data: bytes) -> list[Chunk]:
        chunks = self._read(events.feed(data))
        if events.excess and not self._has_ended:
            self._has_ended = True
            chunks.append(Failure(broken(f"sent {events.excess}", self._origin)))
        return chunks

    def end_of_body(self) -> list[Chunk]:
        """Return the chunks of what is left; a `Failure` if the answer is not whole."""
        if self._has_ended:
            return []
        if self._document is not None:
            return self._read_document(bytes(self._document))
        chunks = self._read(self._events.flush()) if self._events else []
        if not self._has_ended and not any(isinstance(chunk, Failure) for chunk in chunks):
            if self._reason is None and not (self._is_done and self._has_begun):
                what = "broke off its answer" if self._has_begun else "answered with nothing"
                chunks.append(Failure(broken(what, self._origin)))
            else:
                self._end(chunks)
        return chunks

    def _read(self, events: list[ServerSentEvent]) -> list[Chunk]:
        chunks: list[Chunk] = []
        try:
            for event in events:
                if not self._has_ended:
                    self._event(event, chunks)
        except TimestepError as exc:
            self._has_ended = True
            chunks.append(Failure(exc))
        return chunks

    def _event(self, event: ServerSentEvent, chunks: list[Chunk]) -> None:
        name, data = event
        if data.startswith(b"[DONE]"):
            self._is_done = True
            if self._reason is not None:
                self._end(chunks)
            return
        if not data.strip():
            return
        self._check_values(data)
        try:
            parsed = from_json(data)
        except ValueError as exc:
            raise broken(
                f"sent {self._origin.quote(data)}, which is not JSON, as an event", self._origin
            ) from exc
        if not isinstance(parsed, dict):
            raise broken("sent an event that is not a JSON object", self._origin)
        fields = cast("dict[str, Any]", parsed)
        if name == "error" or _is_error(fields):
            raise said_error(fields, self._origin, self._url)
        self._piece(fields, chunks)

    def _read_document(self, body: bytes) -> list[Chunk]:
        chunks: list[Chunk] = []
        try:
            self._check_values(body)
            try:
                parsed = from_json(body)
            except ValueError as exc:
                what = f"answered with {self._origin.quote(body)}, which is not JSON"
                raise broken(what, self._origin) from exc
            if not isinstance(parsed, dict):
                raise broken("answered with JSON that is not an object", self._origin)
            fields = cast("dict[str, Any]", parsed)
            if _is_error(fields):
                raise said_error(fields, self._origin, self._url)
            self._piece(fields, chunks)
            if not self._has_begun:
                raise broken("answered with JSON that holds no choice", self._origin)
            if not isinstance(fields["choices"][0].get("message"), dict):
                raise broken("answered with a choice that has no message", self._origin)
            self._end(chunks)
        except TimestepError as exc:
            self._has_ended = True
            chunks.append(Failure(exc))
        return chunks

    def _piece(self, fields: Mapping[str, Any], chunks: list[Chunk]) -> None:
        if usage := fields.get("usage"):
            self._count(mapping(usage), mapping(fields.get("timings")))
        choices = fields.get("choices")
        if not isinstance(choices, list) or not choices:
            return  # a usage chunk, a ping, or a filter's report on the prompt
        choice = mapping(cast("list[object]", choices)[0])
        if not choice:
            raise broken("sent a choice that is not an object", self._origin)
        if choice.get("index") not in (None, 0):
            return  # only the first choice counts
        if choice.get("error"):
            raise said_error(choice, self._origin, self._url)
        self._has_begun = True
        before = len(chunks)
        if logprobs := mapping(choice.get("logprobs")).get("content"):
            chunks.append(TokenLogprobs(self._logprobs(logprobs)))
        self._delta(mapping(choice.get("delta") or choice.get("message")), chunks)
        if reason := choice.get("finish_reason"):
            self._finish(str(reason))
        if len(chunks) == before:
            chunks.append(Text(""))

    def _delta(self, delta: Mapping[str, Any], chunks: list[Chunk]) -> None:
        if thinking := delta.get("reasoning_content") or delta.get("reasoning"):
            chunks.append(Thinking(self._text(thinking, "reasoning")))
        self._details.add(delta.get("reasoning_details"))
        if content := delta.get("content"):
            if isinstance(content, str):
                self._write(content, chunks)
            else:
                self._parts(content, chunks)
        if refusal := delta.get("refusal"):
            chunks.append(Refusal(self._text(refusal, "a refusal")))
        if calls := delta.get("tool_calls"):
            if not isinstance(calls, list):
                raise broken("sent tool_calls that are not a list", self._origin)
            for call in cast("list[object]", calls):
                self._add_call(mapping(call))
        elif call := delta.get("function_call"):
            self._add_call({"function": call})

    def _add_call(self, piece: Mapping[str, Any]) -> None:
        try:
            self._calls.add(piece)
        except TooManyCalls as exc:
            what = f"sent more than {MOST_CALLS:,} tool calls in one answer"
            raise broken(what, self._origin) from exc

    def _write(self, text: str, chunks: list[Chunk]) -> None:
        if self._calls:
            self._late.append(text)  # the calls come first, and are whole at the end only
        else:
            chunks.append(Text(text))

    def _parts(self, parts: object, chunks: list[Chunk]) -> None:
        """Read content that is a list of parts, as Mistral writes thinking and text."""
        if not isinstance(parts, list):
            raise broken("sent content that is neither text nor a list", self._origin)
        for part in map(mapping, cast("list[object]", parts)):
            if part.get("type") == "thinking":
                inner = part.get("thinking")
                texts = (
                    cast("list[object]", inner) if isinstance(inner, list) else [{"text": inner}]
                )
                found = [mapping(text).get("text") for text in texts]
                chunks += [Thinking(self._text(text, "thinking")) for text in found if text]
            elif said := part.get("text"):
                self._write(self._text(said, "content"), chunks)

    def _finish(self, reason: str) -> None:
        if reason in _FAILED:
            raise said_error(
                {
                    "message": f"the answer ended with finish_reason {reason!r}",
                    "code": "server_error",
                },
                self._origin,
                self._url,
            )
        self._reason = reason

    def _end(self, chunks: list[Chunk]) -> None:
        self._has_ended = True
        calls = self._calls.take()
        if calls and (details := self._details.take()):
            extra = {**calls[0].extra, "reasoning_details": details}
            calls[0] = replace(calls[0], extra=extra)
        chunks += calls
        if (late := "".join(self._late)) and (late.strip() or not calls):
            chunks.append(Text(late))
        chunks.append(End(self._reason, self._usage))

    def _count(self, usage: Mapping[str, Any], timings: Mapping[str, Any]) -> None:
        prompt = mapping(usage.get("prompt_tokens_details"))
        completion = mapping(usage.get("completion_tokens_details"))
        cost = usage.get("cost")
        self._usage = Usage(
            requests=1,
            input_tokens=count(usage, "prompt_tokens"),
            output_tokens=count(usage, "completion_tokens"),
            cached_tokens=count(prompt, "cached_tokens"),
            reasoning_tokens=count(completion, "reasoning_tokens"),
            cost=float(cost)
            if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < _HUGE
            else None,
        )

    def _check_values(self, data: bytes) -> None:
        if has_too_many_values(data):
            raise broken(f"sent JSON of more than {MOST_VALUES:,} values", self._origin)

    def _text(self, text: object, name: str) -> str:
        if isinstance(text, str):
            return text
        raise broken(f"sent {name} that is not text", self._origin)

    def _logprobs(self, entries: object) -> list[Mapping[str, Any]]:
        try:
            return read_logprobs(entries)
        except ValueError as exc:
            raise broken("sent logprobs that are not a list of tokens", self._origin) from exc


def count(fields: Mapping[str, Any], name: str) -> int:
    """Return the count *name* of *fields*; 0 when it is absent or not a count."""
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _is_error(fields: Mapping[str, Any]) -> bool:
    """True when *fields* are an error, alone or beside a piece of an answer."""
    if fields.get("error"):
        return True
    has_answer = bool(fields.get("choices")) or "usage" in fields
    return not has_answer and (fields.get("object") == "error" or bool(fields.get("detail")))
