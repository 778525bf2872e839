"""Turns the pieces of a chat completion into chunks. Pure.

Each piece is the JSON of one event, or of a whole document. Calls are whole when the answer ends: they and
the text behind them are chunks then.

Source: openai 3.57 ``types/chat/chat_completion_chunk.py``; the recordings in ``tests/wire-openai``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from timestep.answer.chunks import Chunk, End, Refusal, Text, Thinking, TokenLogprobs, Usage, count
from timestep.answer.logprobs import read_logprobs
from timestep.net.encoding import is_finite
from timestep.net.json_parts import WrongShape, mapping
from timestep.net.origin import Origin
from timestep.openai.calls import PendingCalls
from timestep.openai.server_errors import said_error
from timestep.openai.wire_errors import broken

_HUGE = 1e9
"""No call costs so many dollars; NaN and infinity are not costs either."""

_UNREAD = frozenset({"annotations", "audio", "images"})
"""Fields of a message that are not read: the items of an answer that we write have no place for them."""

_FAILED = {"error", "abort", "insufficient_system_resource"}
"""Finish reasons that say that the server gave up."""

_JOINED = ("text", "summary", "data")
_MOST_DETAILS = 1_000
"""Of the entries of an answer."""


class Completion:
    """The first choice of one answer."""

    def __init__(self, origin: Origin) -> None:
        self.reason: str | None = None  # the finish reason; None until it has come
        self.has_begun = False  # True once a piece held a choice
        self.ignored: set[str] = set()  # what was left out, a phrase each
        self._origin = origin
        self._calls = PendingCalls()
        self._details = ReasoningDetails()
        self._late: list[str] = []  # text behind the first piece of a call
        self._usage = Usage(requests=1)

    def add(self, fields: Mapping[str, Any], chunks: list[Chunk]) -> None:
        """Add what the piece *fields* says to *chunks*.

        Raises:
            TimestepError: The server reports a failure, or *fields* is not a piece of an answer.
        """
        try:
            self._add(fields, chunks)
        except WrongShape as exc:
            raise broken(f"sent {exc}", self._origin) from exc

    def _add(self, fields: Mapping[str, Any], chunks: list[Chunk]) -> None:
        if usage := fields.get("usage"):
            self._count(mapping(usage))
        choices = fields.get("choices")
        if not isinstance(choices, list) or not choices:
            return  # a usage chunk, a ping, or a filter's report on the prompt
        choice = mapping(cast("list[object]", choices)[0])
        if not choice:
            raise WrongShape("a choice that is not an object")
        if choice.get("index") not in (None, 0):
            return  # only the first choice counts
        if choice.get("error"):
            raise said_error(choice, self._origin)
        self.has_begun = True
        before = len(chunks)
        if logprobs := choice.get("logprobs"):
            self._logprobs(mapping(logprobs).get("content"), chunks)
        self._delta(mapping(choice.get("delta") or choice.get("message")), chunks)
        if reason := choice.get("finish_reason"):
            self._finish(str(reason))
        if len(chunks) == before:
            chunks.append(Text(""))

    def _delta(self, delta: Mapping[str, Any], chunks: list[Chunk]) -> None:
        if thinking := delta.get("reasoning_content"):
            chunks.append(Thinking(_text(thinking, "reasoning")))
        elif thinking := delta.get("reasoning"):
            chunks.append(Thinking(_text(thinking, "reasoning"), "reasoning"))
        if details := delta.get("reasoning_details"):
            self._details.add(details)
        if content := delta.get("content"):
            if isinstance(content, str):
                self._write(content, chunks)
            else:
                self._parts(content, chunks)
        if not _UNREAD.isdisjoint(delta):
            self.ignored.update(filter(delta.get, _UNREAD))
        if refusal := delta.get("refusal"):
            chunks.append(Refusal(_text(refusal, "a refusal")))
        if delta.get("tool_calls") or delta.get("function_call"):
            self._add_calls(delta)

    def _add_calls(self, delta: Mapping[str, Any]) -> None:
        calls: object = delta.get("tool_calls") or [{"function": delta.get("function_call")}]
        if not isinstance(calls, list):
            raise WrongShape("tool_calls that are not a list")
        for call in cast("list[object]", calls):
            self._calls.add(mapping(call))

    def _logprobs(self, entries: object, chunks: list[Chunk]) -> None:
        if not entries:
            return
        try:
            chunks.append(TokenLogprobs(read_logprobs(entries)))
        except ValueError as exc:
            raise WrongShape("logprobs that are not a list of tokens") from exc

    def _write(self, text: str, chunks: list[Chunk]) -> None:
        if self._calls:
            self._late.append(text)  # the calls come first, and are whole at the end only
        else:
            chunks.append(Text(text))

    def _parts(self, parts: object, chunks: list[Chunk]) -> None:
        """Read content that is a list of parts, as Mistral writes thinking and text."""
        if not isinstance(parts, list):
            raise WrongShape("content that is neither text nor a list")
        for part in map(mapping, cast("list[object]", parts)):
            if part.get("type") == "thinking":
                inner = part.get("thinking")
                texts = (
                    cast("list[object]", inner) if isinstance(inner, list) else [{"text": inner}]
                )
                found = [mapping(text).get("text") for text in texts]
                chunks += [Thinking(_text(text, "thinking")) for text in found if text]
            elif said := part.get("text"):
                self._write(_text(said, "content"), chunks)
            elif part.get("type") != "text":
                self.ignored.add("parts that are not text")

    def _finish(self, reason: str) -> None:
        if reason in _FAILED:
            what = f"the answer ended with finish_reason {reason!r}"
            raise said_error({"message": what, "code": "server_error"}, self._origin)
        self.reason = reason

    def end(self, chunks: list[Chunk]) -> None:
        """Add the calls, the text behind them and the `End` to *chunks*.

        Raises:
            BrokenAnswerError: There is no finish reason, and the arguments of a call are not whole.
        """
        if self.reason is None and not self._calls.are_whole:
            raise broken("broke off its answer in a call, which was not run", self._origin)
        calls = self._calls.take()
        if calls and (details := self._details.take()):
            extra = {**calls[0].extra, "reasoning_details": details}
            calls[0] = replace(calls[0], extra=extra)
        chunks += calls
        if (late := "".join(self._late)) and (late.strip() or not calls):
            chunks.append(Text(late))
        chunks.append(End(self.reason, self._usage))

    def _count(self, usage: Mapping[str, Any]) -> None:
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


def _text(text: object, name: str) -> str:
    if isinstance(text, str):
        return text
    raise WrongShape(f"{name} that is not text")


class _Pieces(list[str]):
    """Text that comes in pieces."""


class ReasoningDetails:
    """The ``reasoning_details`` of one answer, put together from their pieces.

    Some servers want them back with the turn they came with, signatures and all: a model that calls a
    tool goes on thinking from them. Pieces with the same type and index belong to one entry, until
    another id begins another; a piece without an index is an entry of its own. Their text is joined,
    and of every other field the last value counts. An entry with NaN or Infinity is left out, because
    it cannot be sent.

    Source: https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11.
    """

    __slots__ = ("_entries", "_open")

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._open: dict[tuple[str, int], dict[str, Any]] = {}

    def add(self, pieces: object) -> None:
        """Add the value of one delta; what is not a list of objects is left out."""
        if isinstance(pieces, list):
            for piece in map(mapping, cast("list[object]", pieces)):
                if piece:
                    self._add(piece)

    def _add(self, piece: Mapping[str, Any]) -> None:
        entry = self._entry(piece)
        for name, value in piece.items():
            if name not in _JOINED or not isinstance(value, str):
                if value is not None:
                    entry[name] = value
            elif isinstance(pieces := entry.get(name), _Pieces):
                pieces.append(value)
            else:
                entry[name] = _Pieces([value])

    def _entry(self, piece: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry that *piece* belongs to; a new one when it begins an entry."""
        index, new_id = piece.get("index"), piece.get("id")
        # A server may send indexes that collide in a dict, and then every look-up takes longer.
        has_place = type(index) is int and 0 <= index < _MOST_DETAILS
        place = (str(piece.get("type")), cast("int", index)) if has_place else None
        known = self._open.get(place) if place else None
        if known is not None and (not new_id or known.get("id") in (None, new_id)):
            return known
        if len(self._entries) >= _MOST_DETAILS:
            raise WrongShape("too many reasoning_details in one answer")
        entry: dict[str, Any] = {}
        self._entries.append(entry)
        if place:
            self._open[place] = entry
        return entry

    def take(self) -> list[dict[str, Any]]:
        """Return the entries, whole."""
        entries, self._entries, self._open = self._entries, [], {}
        whole = (
            {
                name: "".join(value) if isinstance(value, _Pieces) else value
                for name, value in entry.items()
            }
            for entry in entries
        )
        return [entry for entry in whole if is_finite(entry)]
