"""The faults that can break an answer while it is sent.

A fault turns the pieces of a body into the pieces that are sent: fewer, others, or with a
`Stall` or a `Cut` among them. Faults are applied in the order they are given.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol, TypeAlias

from timestep.testing import gojson

PATIENCE = 60.0
"""How many seconds a test waits for what should happen; only one that fails waits so long."""


class Cut(Enum):
    """How the server drops the connection in the middle of an answer."""

    RESET = "reset"
    CLOSE = "close"


class Stall:
    """Silence after some chunks, until it is released or the client hangs up.

    The same stall may be used by several answers; releasing it lets all of them go on.

    Args:
        after: Chunks sent before the silence; 0 keeps back the status line and headers too.
    """

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._is_released = False
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def apply(self, pieces: Iterable["Piece"]) -> Iterator["Piece"]:
        """Return *pieces* with the silence in its place."""
        rest = iter(pieces)
        yield from itertools.islice(rest, self.after)
        yield self
        yield from rest

    def release(self) -> None:
        """Let the waiting answers go on; later ones pass without waiting."""
        with self._lock:
            self._is_released = True
            for event, loop in self._waiting.items():
                loop.call_soon_threadsafe(event.set)

    def wait_until_reached(self, timeout: float = PATIENCE) -> None:
        """Block until the server has gone silent here.

        Raises:
            TimeoutError: No answer came here within *timeout* seconds.
        """
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no answer reached the stall within {timeout:g} s")

    async def reached(self, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109 - twin of the blocking one
        """Like `wait_until_reached`, for tests that run in an event loop."""
        await asyncio.to_thread(self.wait_until_reached, timeout)

    async def pass_through(self) -> None:
        """Wait in the server's event loop until the stall is released."""
        event = asyncio.Event()
        with self._lock:
            if self._is_released:
                event.set()
            self._waiting[event] = asyncio.get_running_loop()
        self._reached.set()
        try:
            await event.wait()
        finally:
            with self._lock:
                del self._waiting[event]


Piece: TypeAlias = bytes | Stall | Cut


class Fault(Protocol):
    """Turns the pieces of a body into the pieces that are sent."""

    def apply(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Return the pieces to send instead of *pieces*."""
        ...


@dataclass(frozen=True)
class _Break:
    """The end of the connection in the middle of the answer."""

    after: int = 0  #: chunks sent before it; 0 is before the status line
    after_bytes: int | None = None  #: bytes of the body sent before it, instead of *after*
    cut: ClassVar[Cut]

    def apply(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Return the first of *pieces*, then the end."""
        if self.after_bytes is None:
            yield from itertools.islice(pieces, self.after)
        else:
            yield from _first_bytes(pieces, self.after_bytes)
        yield self.cut


class Reset(_Break):
    """A TCP reset in the middle of the answer."""

    cut = Cut.RESET


class Close(_Break):
    """An orderly close in the middle of the answer, as when the server is stopped."""

    cut = Cut.CLOSE


@dataclass(frozen=True)
class ErrorLine:
    """An error in the middle of a stream under HTTP 200, and the end of it.

    It is an ``{"error": …}`` line on Ollama's wire, and an event with the same object on OpenAI's.
    Before the first chunk, and for answers that are not streamed, it is an HTTP 500 with the
    same body, as on the real server.

    Attributes:
        message: The error's text.
        after: Chunks sent before it.
        piece: The chunk that says it, for a wire other than Ollama's.
    """

    message: str = "an error was encountered while running the model: unexpected EOF"
    after: int = 1
    piece: bytes = b""

    def apply(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Return the first of *pieces*, then the error."""
        yield from itertools.islice(pieces, self.after)
        yield self.piece or gojson.line({"error": self.message})


@dataclass(frozen=True)
class NoDone:
    """A stream that ends in an orderly way, but without its last chunk.

    An answer that is not streamed says ``"done": false``, or has no finish reason, instead.
    """

    def apply(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Return all of *pieces* but the last."""
        for piece, _ in itertools.pairwise(pieces):
            yield piece


@dataclass(frozen=True)
class Split:
    """Other chunk boundaries, in the middle of lines and of characters.

    Attributes:
        every: The size of each chunk in bytes.
        at: The positions in the body, ascending, at which a new chunk starts, instead of *every*.
    """

    every: int = 1
    at: Sequence[int] | None = None

    def apply(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Return the bytes of *pieces* in the new boundaries."""
        edges = itertools.count(self.every, self.every) if self.at is None else iter(self.at)
        edge, position, held = next(edges, None), 0, b""
        for piece in pieces:
            if not isinstance(piece, bytes):
                if held:
                    yield held
                    position += len(held)
                    held = b""
                yield piece
                continue
            held += piece
            while edge is not None and edge < position + len(held):
                if edge > position:
                    yield held[: edge - position]
                    held = held[edge - position :]
                    position = edge
                edge = next(edges, None)
        if held:
            yield held


def _first_bytes(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    for piece in pieces:
        if not isinstance(piece, bytes):
            yield piece
        elif len(piece) < size:
            yield piece
            size -= len(piece)
        else:
            if size:
                yield piece[:size]
            return
