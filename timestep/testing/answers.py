"""The answers a test can put in the queue, whatever API the server speaks."""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias, TypedDict

from timestep.testing import gojson, http
from timestep.testing.faults import ErrorLine, Fault, NoDone
from timestep.testing.http import Request, Response

ToolCall: TypeAlias = tuple[str, Mapping[str, Any]] | Mapping[str, Any]

_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
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
        """Return the next tool-call id: ``call_`` and eight letters and digits, as the real server's."""
        digest = hashlib.sha256(b"%d" % next(self._calls)).hexdigest()
        return f"call_{digest[:8]}"


@dataclass(frozen=True)
class Said:
    """What a model says, on whatever wire."""

    text: str = ""  #: what the model says
    thinking: str = ""  #: what it thinks before that
    #: The calls it makes: `(name, arguments)` each, or the JSON object that stands in
    #: `tool_calls` on the wire.
    tool_calls: Sequence[ToolCall] = ()
    #: The text's chunks; by default a chunk a word. May be endless.
    pieces: Iterable[str] | None = None
    call_ids: bool = True  #: whether calls given as tuples get ids; some servers send none
    logprobs: Sequence[Any] = ()  #: one entry a chunk of text, or one list of entries a chunk
    #: The exact chunks instead of all of the above: any JSON objects. What every chunk of the
    #: wire has, such as the model's name, is filled in where it is missing.
    chunks: Iterable[Mapping[str, Any]] | None = None
    delay: float = 0.0  #: seconds of silence before the first byte
    interval: float = 0.0  #: seconds of silence before every further chunk
    faults: Sequence[Fault] = ()  #: what goes wrong meanwhile

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
            yield piece, entry if isinstance(entry, list | tuple | None) else [entry]

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
    def error_text(self) -> str:
        """What that error says; without one, what an error says by default."""
        return (self.error or ErrorLine()).message

    def fails_at_once(self, *, is_streamed: bool) -> bool:
        """Return True when an error is all the answer there is; a whole one has no middle."""
        return self.error is not None and (self.error.after == 0 or not is_streamed)

    @property
    def ends(self) -> bool:
        """False when the answer ends without its last chunk."""
        return not any(isinstance(fault, NoDone) for fault in self.faults)


class ReplyFields(TypedDict, total=False):
    """The keywords of ``reply``; `Reply` and `ChatReply` tell which server takes which."""

    thinking: str
    tool_calls: Sequence[ToolCall]
    pieces: Iterable[str] | None
    call_ids: bool
    logprobs: Sequence[Any]
    chunks: Iterable[Mapping[str, Any]] | None
    delay: float
    interval: float
    # Of Ollama
    calls_on_done: bool
    text_arguments: bool
    done_reason: str | None
    prompt_eval_count: int
    eval_count: int | None
    # Of OpenAI's APIs
    refusal: str
    call_pieces: int
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int | None
    usage: Mapping[str, Any] | None
    thinking_field: str
    done: bool


@dataclass(frozen=True)
class StatusAnswer:
    """An answer that is not the model's: an error, a redirect, a page of a proxy."""

    status: int  # the HTTP status code
    error: Any = ""  # the text, or any JSON, under `"error"`
    # The whole body instead; its type is `text/plain` unless *headers* say otherwise.
    body: bytes | str | None = None
    # Sent besides `Date` and the framing.
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    # Further fields beside `"error"`, such as `signin_url`.
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    faults: Sequence[Fault] = ()  # what goes wrong meanwhile

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
    """An answer that a function makes from the request."""

    # Takes the request; returns the text, or any other answer. Runs in the server's thread:
    # it must not wait.
    make: Callable[[Request], str | Answer]
    say: Callable[[str], Answer]  # makes an answer of a text

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the response of what the function returns."""
        answer = self.make(request)
        if isinstance(answer, str):
            answer = self.say(answer)
        return answer.respond(request, ticks)


def _once_complete(
    chunks: Iterable[Mapping[str, Any]], fold: Callable[[Sequence[Mapping[str, Any]]], bytes]
) -> Iterator[bytes]:
    # An empty piece for each chunk: faults count them, and the server sees the client leave.
    seen: list[Mapping[str, Any]] = []
    for chunk in chunks:
        seen.append(chunk)
        yield b""
    yield fold(seen)
