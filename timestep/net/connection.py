"""The small interface between an exchange and the HTTP library that carries it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

CHECK_PROXY = "Check the proxy, or list the server in NO_PROXY to go without it."

Silence = Literal["connect", "first_byte", "idle"]
"""Where a server was silent for too long: ``"connect"`` when connecting took too long,
``"first_byte"`` when no answer began, ``"idle"`` when the answer fell silent."""

Phase = Silence | Literal["reach", "closed", "length", "exchange"]
"""Where a request failed: a silence, ``"reach"`` when no connection could be made, ``"closed"`` when
the client cannot be used any more, ``"length"`` when the answer is too long, ``"exchange"`` for
everything else."""


class TransportError(Exception):
    """A request that did not get through. The library's own error is the cause."""

    def __init__(self, phase: Phase, reason: str, *, through: str = "") -> None:
        super().__init__(f"{reason} ({through})" if through else reason)
        self.phase: Phase = phase
        # Says which proxy the connection goes through, which may be what is missing; empty without
        # one.
        self.through = through


@dataclass(slots=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)  # every header but `Host` and `Content-Length`
    body: bytes = field(repr=False)


@dataclass(slots=True)
class Answer:
    """A response whose body is still to come."""

    status: int
    headers: Mapping[str, str]  # the headers; their names may have to be in lower case
    body: AsyncIterator[bytes]  # the pieces of the body as they arrive; raises `TransportError`
    aclose: Callable[[], Awaitable[None]]  # gives the connection back, or drops it


Step = Literal["connecting", "fragile", "waiting"]

Guard = Callable[[Step], None]
"""Called with each step of a connection that is made: ``"connecting"`` when it begins,
``"fragile"`` when it begins and a cancellation would lose it, then ``"waiting"`` for the answer."""


class Connections(Protocol):
    """The connections of one event loop to one server."""

    async def send(self, request: Request, guard: Guard) -> Answer:
        """Send *request* and return its answer. A redirect is an answer like any other.

        Raises:
            TransportError: No answer came.
            ConfigurationError: The proxy for it cannot be used.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


def drop_frames(error: BaseException) -> None:
    """Take the frames out of *error* and its causes.

    Their variables hold the headers, and so the key, which a crash report would show.
    """
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            chain += [one.__cause__, one.__context__]


def as_cause(error: BaseException) -> TransportError:
    """Return *error* as the cause of an error of the tree: its class, and words of our own.

    A `TransportError` stays what it is, without the library's error behind it.
    """
    behind = error.__cause__ or error.__context__
    if isinstance(error, TransportError):
        kept = error
    else:
        kept, behind = TransportError("exchange", _words(error)), None
    kept.__cause__ = kept.__context__ = kept.__traceback__ = None
    if behind is not None:
        kept.add_note(f"raised for {_words(behind)}")
    return kept


class Translated:
    """Raises what *error_of* makes of an exception in a ``with`` block; None lets it pass.

    The new exception has no cause and no context, because the words and frames of the old one may
    hold a key.
    """

    def __init__(self, error_of: Callable[[Exception], Exception | None]) -> None:
        self._error_of = error_of

    def __enter__(self) -> None:
        """Begin to watch."""

    def __exit__(self, kind: object, exc: BaseException | None, frames: object) -> None:
        """Raise the error for *exc*."""
        error = self._error_of(exc) if isinstance(exc, Exception) else None
        if exc is None or error is None or error is exc:
            return
        cause = error.__cause__ or as_cause(exc)
        del exc, frames
        try:
            raise error from cause
        finally:
            error.__context__ = None  # Python puts the exception there


def _words(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"
