"""The wire: the only place that opens connections.

`Wire` keeps connections to one endpoint per event loop, closed when their loop ends.
`ChatStream` is one exchange. A single task owns it from connect to close and is cancelled at
most once, and never while it connects or closes: the HTTP library would lose the connection
half made or half given back.
"""

import asyncio
import json
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from timestep import __version__
from timestep.errors import (
    OllamaConnectionError,
    OllamaError,
    OllamaTimeoutError,
    TimestepError,
)
from timestep.net.connection import Answer, Connections, TransportError, open_connections
from timestep.net.forks import forget_in_children, keep_for_parent
from timestep.net.origin import Origin
from timestep.net.per_loop import PerLoop
from timestep.net.secrets import secrets_in
from timestep.net.timeouts import Timeouts, Watchdog
from timestep.net.urls import authority, is_ollama_cloud
from timestep.net.wire_bytes import WireBytes
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.errors import status_error
from timestep.ollama.lines import check_length
from timestep.ollama.request.encoding import encode

if TYPE_CHECKING:
    import httpx

_MAX_ERROR_BODY = 1_000_000
_MAX_WAITING = 1_000_000
"""How many bytes may wait for a slow reader before the socket is left to fill up."""

_PIECE = 16_384
"""How many bytes are handed over at most: what they become should not be many objects at once,
for which the garbage collector would look through the whole application."""

_DRAIN_SECONDS = 0.5
"""How long the end of a finished body may take before its connection is given up."""


_HEADERS = {
    "accept": "*/*",
    "accept-encoding": "identity",  # compression would hold small pieces back
    "content-type": "application/json",
    "user-agent": f"timestep/{__version__}",
}


class ChatSource(Protocol):
    """Whatever can run a chat: a `Wire`, a pool of them, or a foreign client's stand-in."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the requests go."""
        ...

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "Exchange":
        """One exchange of ``POST /api/chat``; nothing happens before it is iterated."""
        ...

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """What of a request does not reach the server, a phrase each."""
        ...

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Who is asked for *model*, with *headers* beside the endpoint's own, for error texts."""
        ...


class Exchange(Protocol):
    """The pieces of one answer, bytes or parsed chunks, in order."""

    @property
    def host(self) -> str | None:
        """The scheme and authority of who is asked; None where nobody knows."""
        ...

    @property
    def origin(self) -> Origin:
        """Who is asked, for error texts."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes | list[Any]]:
        """The pieces; raises errors of the tree."""
        ...

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put what goes over the wire into *kept* as well; called before iterating."""
        ...

    def note_error(self, error: OllamaError) -> None:
        """Hear of *error*, which the pieces turned out to be, or which iterating raised."""
        ...

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""
        ...


class Wire:
    """The connection to one endpoint, usable from any event loop.

    Args:
        endpoint: Where, and with which headers.
        timeouts: Of every request.
        client: A ready httpx client to use instead of own ones; it is never closed here.
        withheld: Headers of *client* that are not for this endpoint.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeouts: Timeouts | None = None,
        client: "httpx.AsyncClient | None" = None,
        withheld: Collection[str] = (),
    ) -> None:
        self.endpoint = endpoint
        self.timeouts = timeouts or (Timeouts() if client is None else None)
        self._given = None if client is None else _given(client, timeouts, withheld)
        self._start_over()
        forget_in_children(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens connections of its own."""
        return Wire, (self.endpoint,), {"timeouts": self.timeouts, "_given": self._given}

    def forget_connections(self) -> None:
        """Begin anew in a forked process: two processes on one connection mix up their answers."""
        keep_for_parent(self._connections, self._streams)
        self._start_over()

    def _start_over(self) -> None:
        self._connections = PerLoop(_closing(weakref.ref(self)))
        self._streams: set[ChatStream] = set()

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "ChatStream":
        """One exchange of ``POST /api/chat``."""
        return self.stream("/api/chat", body, headers, model)

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """Nothing: the bytes are our own."""
        return []

    def stream(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str], model: str
    ) -> "ChatStream":
        """One exchange of ``POST path``; nothing happens before it is iterated."""
        return ChatStream(self, path, encode(body), headers, self.origin(model, headers))

    async def get(self, path: str) -> Any:
        """The JSON that ``GET path`` answers.

        Raises:
            OllamaError: It could not be had.
        """
        return await self._json("GET", path, b"", {}, None)

    async def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON that ``POST path`` answers to *body*.

        Raises:
            OllamaError: It could not be had.
        """
        return (await self.ask(path, body, headers))[0]

    async def ask(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Origin]:
        """The same, and who answered.

        Raises:
            OllamaError: It could not be had.
        """
        name = body.get("model")
        model = name if isinstance(name, str) else None
        answer = await self._json("POST", path, encode(body), headers or {}, model)
        return answer, self.origin(model, headers or {})

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Who is asked for *model*, with *headers* beside the endpoint's own, for error texts."""
        secrets = (*secrets_in(self.endpoint.headers), *secrets_in(headers))
        return Origin(model, authority(self.endpoint.base_url), secrets)

    def connections(self) -> Connections:
        """The connections of the running loop, opened on first use."""
        return self._given or self._connections.get(self._open)

    async def aclose(self) -> None:
        """Hang up and close in the running loop; connections of others close with their loops."""
        await self.hang_up()
        await self._connections.aclose()

    async def hang_up(self) -> None:
        """Break off what is under way in the running loop."""
        loop = asyncio.get_running_loop()
        streams = [stream for stream in list(self._streams) if stream.loop is loop]
        await asyncio.gather(*(stream.aclose() for stream in streams))

    def begin(self, stream: "ChatStream") -> "asyncio.Task[None]":
        """The task that owns *stream*, begun; kept until it has given its connection back."""
        # A connection is kept for others, and with it the context it was opened in: one's own would
        # keep the agent that asked first alive. A client that was given may want to know it.
        context = Context() if self._given is None else None
        task = asyncio.get_running_loop().create_task(stream.own(), context=context)
        self._streams.add(stream)
        task.add_done_callback(lambda _: self._streams.discard(stream))
        return task

    def _open(self) -> Connections:
        timeouts = self.timeouts or Timeouts()
        return open_connections(self.endpoint, timeouts.connect)

    async def _json(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], model: str | None
    ) -> Any:
        origin = self.origin(model, headers)
        stream = ChatStream(self, path, body, headers, origin, method=method)
        text = bytearray()
        try:
            async for piece in stream:
                text += piece
                check_length("an answer", len(text), origin)
        finally:
            await stream.aclose()
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise status_error(200, {}, bytes(text), origin) from exc


def _closing(wire: "weakref.ref[Wire]") -> Callable[[Connections], Awaitable[None]]:
    async def close(connections: Connections) -> None:
        # Runner.run_sync() closes the generators of a loop whose tasks it does not cancel.
        if (alive := wire()) is not None:
            await alive.hang_up()
        await connections.aclose()

    return close


class ChatStream:
    """One exchange: iterate the pieces of its body, then close it.

    Raises, while iterating: every error of the tree that a connection can end in.
    """

    def __init__(
        self,
        wire: Wire,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        origin: Origin,
        *,
        method: str = "POST",
    ) -> None:
        self._wire = wire
        self._request = (method, path, body, headers)
        self.origin = origin
        self._task: asyncio.Task[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._released = False
        self._watch = Watchdog(wire.timeouts, self._expire)
        self._expired: str | None = None
        self._guarded = False  # connecting or closing, so not to be cancelled
        self._kept: WireBytes | None = None
        self.was_cut_off = False
        """True when its provider or its event loop was closed before it was over."""

    @property
    def host(self) -> str:
        """The scheme and authority of the endpoint."""
        return self.origin.host

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop it runs in, None before it is iterated."""
        return None if self._task is None else self._task.get_loop()

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put the bytes of the request and of its answer into *kept* as well."""
        _, path, body, _ = self._request
        kept.url, kept.request = self._wire.endpoint.base_url + path, body
        self._kept = kept

    def note_error(self, error: OllamaError) -> None:
        """Nothing: there is no other server to prefer."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._task is None:
            self._task = self._wire.begin(self)
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        piece = self._take()
        self._make_room()
        return piece

    def _take(self) -> bytes:
        """The next bytes that wait: one piece, or as many small ones as make one."""
        taken = [self._pieces.popleft()]
        size = len(taken[0])
        while self._pieces and size + len(self._pieces[0]) <= _PIECE:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._waiting -= size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up; or, when the answer is *finished*, wait for the end of its body first.

        Not for long: see ``_DRAIN_SECONDS``. A task left to read on alone would be lost with an
        event loop that ends without cancelling it, as that of ``Runner.run_sync()`` does.
        """
        task = self._task
        if task is None or task.done():
            return
        self._released = True
        if finished:
            self._make_room()
            self._watch.expect("idle", _DRAIN_SECONDS)
            if not self._ended:
                self._reader = asyncio.get_running_loop().create_future()
                await self._reader
        elif not self._guarded:
            self._cancel()
            await asyncio.wait([task])

    def _guard(self, is_guarded: bool) -> None:
        """Hear from the transport that connecting began or ended; it has a limit of its own."""
        self._guarded = is_guarded
        if is_guarded:
            self._watch.stop()
        else:
            self._watch.expect("first_byte")
            if self._released:
                self._cancel()

    def _expire(self, phase: str) -> None:
        """Give up: nothing was heard for too long in *phase*."""
        self._expired = phase
        self._cancel()

    def _cancel(self) -> None:
        """Cancel the owner once; the end of its event loop may have done so already."""
        if self._task is not None and not self._guarded and not self._task.cancelling():
            self._task.cancel()

    async def own(self) -> None:
        """Own the exchange, from connect to close, in a task of its own."""
        try:
            await self._exchange()
        except asyncio.CancelledError:
            if self._expired is None:
                self.was_cut_off = True
                self._error = OllamaConnectionError(
                    f"The request to {self.origin.host} was cut off: its provider or its event "
                    "loop was closed. Close them when all runs are done.",
                    **self.origin.where(),
                )
                raise
            self._error = self._silence(self._expired, self._watch.limit)
        except TimestepError as exc:
            self._error = exc
        except TransportError as exc:
            self._error = self._failure(exc)
        except (OSError, RuntimeError, TypeError, ValueError) as exc:
            # What HTTP libraries let through of a closed client, a client of another event loop
            # (RuntimeError) or an impossible header (TypeError, ValueError).
            self._error = _from(exc, self._broken(exc))
        finally:
            if self._error is not None:
                _drop_frames(self._error)
            self._watch.stop()
            self._ended = True
            self._wake()

    async def _exchange(self) -> None:
        connections = self._wire.connections()
        method, path, body, headers = self._request
        url = self._wire.endpoint.base_url + path
        own = {name.lower(): value for name, value in headers.items()}  # none is sent twice
        headers = {**_HEADERS, **self._wire.endpoint.headers, **own}
        self._watch.expect("first_byte")
        answer = await connections.send(method, url, headers, body, self._guard)
        if self._kept is not None:
            self._kept.status = answer.status
        try:
            if not answer.is_success:
                raise await self._refusal(answer)
            async for data in answer.body:
                if not self._released:  # else a deadline runs, which talking does not move
                    self._watch.touch()
                    await self._hand_over(data)
        finally:
            self._guarded = True
            await answer.aclose()

    async def _refusal(self, answer: Answer) -> OllamaError:
        body = bytearray()
        self._watch.touch()  # a refusal is no cold load: its words are there at once
        async for data in answer.body:
            self._watch.touch()
            body += data
            if len(body) > _MAX_ERROR_BODY:
                break
        if self._kept is not None:
            self._kept.response.append(bytes(body))
        return status_error(answer.status, answer.headers, bytes(body), self.origin)

    async def _hand_over(self, data: bytes) -> None:
        self._pieces.extend(data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
        if self._kept is not None:
            self._kept.response.append(data)
        self._waiting += len(data)
        self._wake()
        if self._waiting > _MAX_WAITING:
            self._room = asyncio.get_running_loop().create_future()
            self._watch.stop()  # the reader is slow, not the server
            await self._room
            self._watch.touch()

    def _make_room(self) -> None:
        has_room = self._released or self._waiting <= _MAX_WAITING
        if has_room and self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _silence(self, phase: str, seconds: float | None) -> OllamaTimeoutError:
        host = self.origin.host
        text = {
            "connect": f"No connection to {host} within {seconds} s. Is the server running and the "
            "address right? ('ollama serve' starts it; timeout={'connect': …} waits longer.)",
            "first_byte": f"{host} did not begin its answer within {seconds} s. A large model may "
            "still be loading: keep_alive keeps it loaded, timeout={'first_byte': …} waits longer.",
            "idle": f"{host} fell silent in the middle of its answer"
            f"{f' for {seconds} s' if seconds else ''}. timeout={{'idle': …}} waits longer.",
        }[phase]
        return OllamaTimeoutError(text, phase=phase, seconds=seconds, **self.origin.where())

    def _failure(self, exc: TransportError) -> OllamaError:
        timeouts = self._wire.timeouts
        match exc.phase:
            case "connect":
                limit = timeouts.connect if timeouts is not None else None
                error: OllamaError = self._silence("connect", limit)
            case "idle":
                error = self._silence("idle", None)
            case _:
                error = self._broken(exc)
        return _from(exc.__cause__ or exc, error)

    def _broken(self, exc: Exception) -> OllamaConnectionError:
        host = self.origin.host
        reason = self.origin.clean(str(exc) or type(exc).__name__)
        if isinstance(exc, RuntimeError):
            advice = (
                f"The HTTP client for {host} cannot be used: {reason}. An ollama_client works in "
                "one event loop and until it is closed; give base_url instead, and timestep keeps "
                "a client for every loop."
            )
        elif isinstance(exc, TransportError) and exc.phase == "reach" and is_ollama_cloud(host):
            advice = f"Cannot reach {host}: {reason}. Check the network, or a proxy on the way."
        elif isinstance(exc, TransportError) and exc.phase == "reach":
            advice = (
                f"Cannot reach Ollama at {host}: {reason}. Start it with 'ollama serve', or say "
                "where it runs: base_url, or OLLAMA_BASE_URL or OLLAMA_HOST for from_env()."
            )
        else:
            advice = (
                f"The connection to {host} broke: {reason}. The server or a proxy between may have "
                "stopped; its log says more."
            )
        return OllamaConnectionError(advice, **self.origin.where())


def _drop_frames(error: BaseException) -> None:
    """Take the frames of this task out of *error* and its causes.

    Their variables hold the headers, and so the key, which a crash report would show.
    """
    chain: list[BaseException | None] = [error]
    while chain:
        if (one := chain.pop()) is not None:
            one.__traceback__ = None
            chain += [one.__cause__, one.__context__]


def _from(cause: BaseException, error: OllamaError) -> OllamaError:
    error.__cause__ = cause
    return error


def _given(
    client: "httpx.AsyncClient", timeouts: Timeouts | None, withheld: Collection[str]
) -> Connections:
    import httpx  # noqa: PLC0415 - imported on use

    from timestep.net.over_httpx import HttpxClient  # noqa: PLC0415 - as above

    # The watchdog waits for bytes; the client only has to connect in time.
    limits = None if timeouts is None else httpx.Timeout(None, connect=timeouts.connect)
    return HttpxClient(client, limits, withheld=withheld)
