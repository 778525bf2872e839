"""The lines of an Ollama answer, read into chunks. Pure.

Source: ollama ``api/types.go`` (``ChatResponse``) v0.33.0 and the recordings in ``tests/wire``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from jiter import from_json

from timestep.answer.chunks import (
    BrokenEnd,
    Call,
    Chunk,
    End,
    Text,
    Thinking,
    TokenLogprobs,
    Usage,
    arguments_of,
    count,
)
from timestep.answer.logprobs import read_logprobs
from timestep.errors import OllamaError, OllamaStreamError
from timestep.net.json_parts import WrongShape, mapping
from timestep.net.limits import (
    LONGEST_JSON,
    MOST_CALLS,
    MOST_EMPTY_LINES,
    MOST_VALUES,
    has_too_many_values,
)
from timestep.net.lines import LineSplitter
from timestep.net.origin import Origin
from timestep.ollama.server_errors import line_error

DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
"""What the last line says about time, in nanoseconds."""

_COUNTS = ("prompt_eval_count", "eval_count")
_NO_ANSWER = ("load", "unload")
"""Ends of requests that only load or unload the model."""


class ChatLines:
    """Reads one answer of ``/api/chat``.

    A line that is an error, or not a line of an answer, becomes a `BrokenEnd`, so that the chunks
    before it are not lost.
    """

    __slots__ = ("_calls_read", "_empty_lines", "_has_ended", "_lines", "origin")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._lines = LineSplitter()
        self._has_ended = False
        self._empty_lines = 0
        self._calls_read = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks of the lines that *data* completes."""
        if lines := self._lines.feed(data):
            return self._read(lines)
        try:
            check_length("a line", self._lines.waiting, self.origin)
        except OllamaError as exc:
            return [BrokenEnd(exc)]
        return []

    def feed_parsed(self, lines: Iterable[Any]) -> list[Chunk]:
        """Return the chunks of *lines* that a foreign client has parsed."""
        chunks: list[Chunk] = []
        try:
            for line in lines:
                self._line(line, chunks)
        except OllamaError as exc:
            chunks.append(BrokenEnd(exc))
        return chunks

    def end_of_body(self) -> list[Chunk]:
        """Return the chunks of what follows the last newline; a `BrokenEnd` if the answer goes on."""
        chunks = self._read(self._lines.flush())
        if not self._has_ended:
            chunks.append(BrokenEnd(self._broken_off()))
        return chunks

    def _read(self, lines: list[bytes]) -> list[Chunk]:
        chunks: list[Chunk] = []
        try:
            for line in lines:
                if self._has_ended:
                    break  # nothing after the last line belongs to the answer
                if not line or line.isspace():
                    self._empty_lines += 1
                    if self._empty_lines > MOST_EMPTY_LINES:
                        raise strange(f"more than {MOST_EMPTY_LINES:,} empty lines", self.origin)
                    continue
                if len(line) > MOST_VALUES:  # a shorter line is within both limits
                    check_length("a line", len(line), self.origin)
                    check_values("a line", line, self.origin)
                try:
                    parsed = from_json(line)
                except ValueError as exc:
                    raise strange(
                        f"{self.origin.quote(line)}, which is not JSON,", self.origin
                    ) from exc
                self._line(parsed, chunks)
        except OllamaError as exc:
            chunks.append(BrokenEnd(exc))
        return chunks

    def _line(self, line: Any, chunks: list[Chunk]) -> None:
        if self._has_ended:
            return  # a foreign client's answer goes on
        fields: dict[str, Any] = line
        if not isinstance(line, dict):
            raise strange(f"{type(line).__name__} instead of an object", self.origin)
        message: Any = fields.get("message")
        parts: dict[str, Any] = message
        if not isinstance(message, dict) or fields.get("error"):
            chunks.append(self._without_message(fields))
            return
        before = len(chunks)
        if logprobs := fields.get("logprobs"):
            chunks.append(TokenLogprobs(self._logprobs(logprobs)))
        if thinking := parts.get("thinking"):
            chunks.append(Thinking(self._text(thinking, "thinking")))
        if content := parts.get("content"):
            chunks.append(Text(content if type(content) is str else self._text(content, "content")))
        if calls := parts.get("tool_calls"):
            chunks += self._calls(calls)
        # The first question spares the many lines that are not the last a call.
        if (fields.get("done") is not False or "done_reason" in fields) and is_end(fields):
            chunks.append(self._end(fields))
        elif len(chunks) == before:
            chunks.append(Text(""))

    def _without_message(self, fields: dict[str, Any]) -> Chunk:
        is_error = bool(fields.get("error"))
        if fields.get("message") is not None and not is_error:
            raise strange("a message that is not an object", self.origin)
        if is_error or not is_end(fields):
            raise line_error(fields, self.origin)
        return self._end(fields)

    def _calls(self, calls: Any) -> list[Chunk]:
        if not isinstance(calls, list):
            raise strange("tool_calls that are not a list", self.origin)
        sent = cast("list[Any]", calls)
        self._calls_read += len(sent)
        if self._calls_read > MOST_CALLS:
            raise strange(f"more than {MOST_CALLS:,} tool calls in one answer", self.origin)
        return [self._call(call) for call in sent]

    def _call(self, call: Any) -> Call:
        sent = mapping(call)
        if not isinstance(sent.get("function"), Mapping):
            raise strange("a tool call without a function", self.origin)
        asked = mapping(sent["function"])
        try:
            return Call(asked.get("name"), arguments_of(asked), sent.get("id"))
        except WrongShape as exc:
            raise strange(str(exc), self.origin) from exc

    def _end(self, fields: Mapping[str, Any]) -> End:
        self._has_ended = True
        check_is_answer(fields, self.origin)
        reason = fields.get("done_reason")
        return End(reason if isinstance(reason, str) else None, read_usage(fields))

    def _text(self, text: Any, name: str) -> str:
        if isinstance(text, str):
            return text
        raise strange(f"{name} that is not text", self.origin)

    def _logprobs(self, entries: Any) -> list[Mapping[str, Any]]:
        try:
            return read_logprobs(entries)
        except ValueError as exc:
            raise strange("logprobs that are not a list of tokens", self.origin) from exc

    def _broken_off(self) -> OllamaStreamError:
        return OllamaStreamError(
            f"The answer of {self.origin.host} ended without its last line (done: true), so it is "
            "not complete. The model was stopped, for instance for repeating itself, or a proxy "
            "cut the connection; the server's log says more.",
            **self.origin.where(),
        )


def is_end(fields: Mapping[str, Any]) -> bool:
    """Return True for the last line. The MLX runner leaves out ``done: true``, not the counts."""
    if fields.get("done") is True:
        return True
    return bool(fields.get("done_reason")) and any(name in fields for name in _COUNTS)


def check_is_answer(fields: Mapping[str, Any], origin: Origin) -> None:
    """Refuse the end of a request that only loaded or unloaded the model."""
    if (reason := fields.get("done_reason")) in _NO_ANSWER:
        raise OllamaStreamError(
            f"{origin.host} only {reason}ed {origin.model!r} and gave no answer (done_reason: "
            f"{reason}). Ask again; the server's log says more.",
            **origin.where(),
        )


def read_usage(line: Mapping[str, Any]) -> Usage:
    """Return what the last *line* of an answer says it cost."""
    figures = {name: count(line, name) for name in _COUNTS}
    figures |= {name: value for name in DURATIONS if (value := count(line, name))}
    return Usage(
        requests=1,
        input_tokens=figures["prompt_eval_count"],
        output_tokens=figures["eval_count"],
        cached_tokens=count(line, "prompt_eval_cached_count"),
        figures=figures,
    )


def check_length(what: str, size: int, origin: Origin) -> None:
    """Refuse *what* of *size* bytes when it is too long for an answer."""
    if size > LONGEST_JSON:
        raise strange(f"{what} of more than {LONGEST_JSON >> 20} MiB", origin)


def check_values(what: str, text: bytes | bytearray, origin: Origin) -> None:
    """Refuse *what* when the JSON in its *text* holds more than `MOST_VALUES` values."""
    if has_too_many_values(text):
        raise strange(f"{what} of more than {MOST_VALUES:,} values", origin)


def strange(what: str, origin: Origin) -> OllamaStreamError:
    """Return the error for *what*, which is not a line of an answer."""
    return OllamaStreamError(
        f"{origin.host} sent {origin.clean(what)} where a line of an Ollama answer belongs. Is "
        "base_url the root of an Ollama server?",
        **origin.where(),
    )
