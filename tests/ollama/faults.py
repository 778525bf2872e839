"""What can go wrong with a call, at which point, and how the call must end. No tests here.

`CASES` is made of two tables: what a server may answer instead of a chat, and what may happen to a
chat at every point of its answer. docs/reliability.md shows `matrix()`, and test_fault_matrix.py
plays every case.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from agents import ModelBehaviorError

from timestep.errors import (
    AuthenticationError,
    CapabilityError,
    ContextWindowExceededError,
    ModelNotFoundError,
    ModelOutputError,
    OllamaConnectionError,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
    RateLimitError,
    ServerBusyError,
)
from timestep.testing import FakeOllama, Stall
from timestep.testing.faults import Cut, Piece

PIECES = ("Hel", "lo ", "you")
"""The text of the answer that things happen to, a chunk each; the last line says done."""

TEXT = "".join(PIECES)
SILENCE_SECONDS = 0.25


class Point(Enum):
    """Where in an answer something happens: after so many lines, and maybe in the next one."""

    CONNECT = ("connecting", 0, "")
    HEADERS = ("before the headers", 0, "")
    REFUSAL = ("in a refusal", 0, "half")
    BODY = ("before the first line", 0, "blank")
    FIRST = ("in the first line", 0, "half")
    MIDDLE = ("after two lines", 2, "")
    BEFORE_LAST = ("before the last line", 3, "")
    LAST = ("in the last line", 3, "half")

    def __init__(self, words: str, lines: int, begun: str) -> None:
        self.words, self.lines, self.begun = words, lines, begun

    def apply(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        """What is sent of *pieces* before it happens."""
        rest = iter(pieces)
        for _ in range(self.lines):
            yield next(rest)
        if self.begun == "blank":
            yield b"\n"  # headers go out with the first bytes of a body
        elif self.begun == "half":
            line = next(rest)
            yield line[: len(line) // 2]


ANYWHERE = (
    Point.HEADERS,
    Point.REFUSAL,
    Point.BODY,
    Point.FIRST,
    Point.MIDDLE,
    Point.BEFORE_LAST,
    Point.LAST,
)
IN_BODY = (Point.BODY, Point.FIRST, Point.MIDDLE, Point.BEFORE_LAST, Point.LAST)
BETWEEN_LINES = (Point.BODY, Point.MIDDLE, Point.BEFORE_LAST)


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong at one point.

    Attributes:
        play: Has the server do it once.
        error: What a call ends in that is not repeated.
        is_repeated: Whether retry settings that follow the adapter's advice repeat the call.
        leaves: Whether the client has to hang up, because the server would go on.
        is_down: Whether nothing listens.
    """

    name: str
    point: Point | None
    play: Callable[[FakeOllama], None]
    error: type[Exception]
    is_repeated: bool
    leaves: bool = False
    is_down: bool = False

    def __str__(self) -> str:
        return self.name if self.point is None else f"{self.name}, {self.point.words}"

    @property
    def shown(self) -> str:
        """The text that a streamed run has shown by then."""
        return "" if self.point is None else "".join(PIECES[: self.point.lines])

    def ends_in(self, *, is_streamed: bool, retries: bool) -> type[Exception] | None:
        """What the run ends in; None for a complete answer."""
        if is_streamed and self.shown:
            return ModelBehaviorError  # the SDK's, for a stream that ends with response.failed
        return None if retries and self.is_repeated else self.error


@dataclass(frozen=True)
class Happening:
    """Something that happens to an answer: these pieces come, and nothing more."""

    pieces: tuple[object, ...]
    point: Point

    def apply(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        yield from self.point.apply(pieces)
        for piece in self.pieces:
            yield Stall() if piece is Stall else piece

    def play(self, fake: FakeOllama) -> None:
        if self.point is Point.REFUSAL:
            fake.fail(500, "an error that takes long to say", fault=self)
        else:
            fake.reply(pieces=PIECES, fault=self)


def _line(value: object) -> tuple[object, ...]:
    """A line, and a server that would go on: the client must not wait for it."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return (text + b"\n", Stall)


_STOPPED = "model runner has unexpectedly stopped, this may be due to resource limitations"
_TOO_LONG = (
    "request (9412 tokens) exceeds the available context size (8192 tokens), try increasing it"
)
_BAD_CALL = "error parsing tool call: raw='{', err=unexpected end of JSON input"
_HTML = b"<html><head><title>502</title></head><body>Bad gateway</body></html>"

_HAPPENINGS: tuple[
    tuple[str, tuple[object, ...], tuple[Point, ...], type[Exception], bool], ...
] = (
    ("the connection is reset", (Cut.RESET,), ANYWHERE, OllamaConnectionError, True),
    ("the connection is closed", (Cut.CLOSE,), ANYWHERE, OllamaConnectionError, True),
    ("the server falls silent", (Stall,), ANYWHERE, OllamaTimeoutError, True),
    ("the body ends without `done`", (), IN_BODY, OllamaStreamError, True),
    ("an error line", _line({"error": _STOPPED}), BETWEEN_LINES, OllamaStreamError, True),
    (
        "an error line with an object",
        _line({"error": {"message": _STOPPED, "code": 500}}),
        BETWEEN_LINES,
        OllamaStreamError,
        True,
    ),
    (
        "an error line about a tool call",
        _line({"error": _BAD_CALL}),
        BETWEEN_LINES,
        ModelOutputError,
        True,
    ),
    (
        "an error line about the context",
        _line({"error": _TOO_LONG}),
        BETWEEN_LINES,
        ContextWindowExceededError,
        False,
    ),
    ("a line of broken JSON", _line(b'{"message": {'), IN_BODY, OllamaStreamError, True),
    ("a page of HTML under 200", _line(_HTML), BETWEEN_LINES, OllamaStreamError, True),
    (
        "an object that is not a chunk",
        _line({"status": "ok"}),
        BETWEEN_LINES,
        OllamaStreamError,
        True,
    ),
    ("a line that is not an object", _line([None]), BETWEEN_LINES, OllamaStreamError, True),
)

_NOT_JSON = {"Content-Type": "text/html"}

# Name, status, error or body, headers, class, repeated.
_REFUSALS: tuple[tuple[str, int, str | bytes, dict[str, str], type[Exception], bool], ...] = (
    ("a redirect", 307, b"", {"Location": "https://elsewhere.example/"}, OllamaStatusError, False),
    ("a bad request", 400, "invalid model name", {}, OllamaStatusError, False),
    ("no such capability", 400, '"m" does not support tools', {}, CapabilityError, False),
    ("prompt too long", 400, _TOO_LONG, {}, ContextWindowExceededError, False),
    (
        "prompt too long, in llama-server's words",
        400,
        json.dumps({"error": {"code": 400, "message": _TOO_LONG}}),
        {},
        ContextWindowExceededError,
        False,
    ),
    ("no key", 401, "unauthorized", {}, AuthenticationError, False),
    (
        "a subscription is needed",
        403,
        "this model requires a subscription",
        {},
        AuthenticationError,
        False,
    ),
    ("a host header is refused", 403, b"", {}, AuthenticationError, False),
    ("no such model", 404, "model 'm' not found", {}, ModelNotFoundError, False),
    ("no such page", 404, b"404 page not found", {}, OllamaStatusError, False),
    ("a timeout of a proxy", 408, b"", {}, OllamaStatusError, True),
    ("a body too large for a proxy", 413, _HTML, _NOT_JSON, OllamaStatusError, False),
    ("a used-up plan", 429, "you have reached your session usage limit", {}, RateLimitError, False),
    ("a burst", 429, "too many requests", {}, RateLimitError, True),
    ("a burst, with Retry-After", 429, "slow down", {"Retry-After": "0"}, RateLimitError, True),
    ("an error without a word", 500, b"", {}, OllamaStatusError, True),
    ("a stopped runner", 500, _STOPPED, {}, OllamaStatusError, True),
    ("a broken tool call", 500, _BAD_CALL, {}, ModelOutputError, True),
    ("a gateway's page", 502, _HTML, _NOT_JSON, ServerBusyError, True),
    ("a full queue", 503, "server busy, please try again.", {}, ServerBusyError, True),
    (
        "overloaded, with Retry-After",
        503,
        "overloaded",
        {"Retry-After": "0"},
        ServerBusyError,
        True,
    ),
    ("a gateway's timeout", 504, _HTML, _NOT_JSON, ServerBusyError, True),
)


def _refusal(
    status: int, said: str | bytes, headers: dict[str, str]
) -> Callable[[FakeOllama], None]:
    def play(fake: FakeOllama) -> None:
        if isinstance(said, bytes):
            fake.fail(status, body=said, headers=headers)
        else:
            fake.fail(status, said, headers=headers)

    return play


CASES: tuple[Case, ...] = (
    Case(
        "nothing listens",
        Point.CONNECT,
        FakeOllama.refuse,
        OllamaConnectionError,
        is_repeated=True,
        is_down=True,
    ),
    *(
        Case(name, point, Happening(pieces, point).play, error, repeated, Stall in pieces)
        for name, pieces, points, error, repeated in _HAPPENINGS
        for point in points
    ),
    *(
        Case(f"{status}: {name}", None, _refusal(status, said, headers), error, repeated)
        for name, status, said, headers, error, repeated in _REFUSALS
    ),
)


def matrix() -> str:
    """The cases as a table of Markdown; points with the same end share a row."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for case in CASES:
        whole, streamed = (_words(case, is_streamed=is_streamed) for is_streamed in (False, True))
        repeated = {False: "no", True: "whole answers only" if case.shown else "yes"}
        row = (case.name, whole, streamed, repeated[case.is_repeated])
        rows.setdefault(row, []).append("" if case.point is None else case.point.words)
    return "\n".join(
        [
            "| what happens | when | a whole answer ends in | a stream ends in | repeated |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {'; '.join(points)} | {whole} | {streamed} | {repeated} |"
                for (name, whole, streamed, repeated), points in rows.items()
            ),
        ]
    )


def _words(case: Case, *, is_streamed: bool) -> str:
    error = case.ends_in(is_streamed=is_streamed, retries=False)
    assert error is not None
    return "`response.failed`" if error is ModelBehaviorError else f"`{error.__name__}`"
