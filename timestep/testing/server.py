"""The test server itself: queue, records, routes and the thread it runs in."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypedDict, Unpack

from timestep.testing.catalog import Model, SystemMessages
from timestep.testing.connection import Connection
from timestep.testing.endpoints import Endpoints
from timestep.testing.errors import FakeOllamaError
from timestep.testing.faults import Fault
from timestep.testing.http import Request
from timestep.testing.recordings import Recording
from timestep.testing.replies import Answer, Computed, Failure, Reply, ToolCall
from timestep.testing.script import Queued, Script

_CHAT = "/api/chat"
_BACKLOG = 1024
_PATIENCE = 10.0

Faults: TypeAlias = Fault | Sequence[Fault]


class ReplyFields(TypedDict, total=False):
    """The keywords of :meth:`FakeOllama.reply`; :class:`Reply` tells what they mean."""

    thinking: str
    tool_calls: Sequence[ToolCall]
    pieces: Iterable[str] | None
    calls_on_done: bool
    call_ids: bool
    text_arguments: bool
    done_reason: str | None
    prompt_eval_count: int
    eval_count: int | None
    logprobs: Sequence[Any]
    chunks: Iterable[Mapping[str, Any]] | None
    delay: float
    interval: float


class ModelFields(TypedDict, total=False):
    """The keywords of :meth:`FakeOllama.add_model`; :class:`Model` tells what they mean."""

    capabilities: Sequence[str]
    context_length: int
    window: int
    family: str
    parameter_size: str
    quantization_level: str
    size: int
    parameters: Mapping[str, Any]
    template: str
    system: str
    system_messages: SystemMessages
    think_levels: bool
    needs_types: bool


@dataclass(frozen=True)
class Disconnect:
    """A client that hung up before its answer was complete.

    Attributes:
        request: What it had asked for.
        chunks_sent: The chunks the server had written by then.
    """

    request: Request
    chunks_sent: int


class FakeOllama:
    """A real HTTP server on loopback that plays an Ollama server as a test scripts it.

    Use it as a context manager, plain or async. It listens on a port of its own, answers in a
    thread of its own, and sends what a real server sends, down to the headers, the order of
    keys and the format of numbers. Replies are queued and served in order.

        with FakeOllama() as fake:
            fake.reply("Hello!")
            ...  # point a client at fake.url
            assert fake.chats[0]["messages"][-1]["content"] == "Hi"

    Args:
        strict: Whether leaving the context raises what :meth:`verify` finds.
        recordings: The directory in which :meth:`replay` looks names up.
    """

    def __init__(self, *, strict: bool = True, recordings: Path | str | None = None) -> None:
        self.strict = strict
        self._recordings = None if recordings is None else Path(recordings)
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._disconnects: list[Disconnect] = []
        self._connecting: set[asyncio.Task[Any]] = set()
        self._connections: set[Connection] = set()
        self._script = Script()
        self._endpoints = Endpoints(self._script)
        self._address: tuple[str, int] = ("127.0.0.1", 0)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True  # pytest shows the test, not this
        self.close()
        if self.strict and exc_type is None:
            self.verify()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    def start(self) -> None:
        """Listen, and answer in a new thread."""
        listener = socket.create_server(self._address, backlog=_BACKLOG)
        self._address = listener.getsockname()[:2]
        is_ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run_loop,
            args=(listener, is_ready),
            name="FakeOllama",
            daemon=True,
        )
        self._thread.start()
        is_ready.wait()

    def close(self) -> None:
        """Stop listening, drop all connections and end the thread; stalled answers too."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def refuse(self) -> None:
        """Close the port and all connections: clients get "connection refused"."""
        asyncio.run_coroutine_threadsafe(self._close_port(), self._loop).result(_PATIENCE)

    def accept(self) -> None:
        """Listen on the same port again, after :meth:`refuse`."""
        listener = socket.create_server(self._address, backlog=_BACKLOG)
        asyncio.run_coroutine_threadsafe(self._open_port(listener), self._loop).result(_PATIENCE)

    @property
    def url(self) -> str:
        """Where the server listens, without a slash at the end."""
        host, port = self._address
        if not port:
            raise RuntimeError(
                "the server has no port yet: use it as a context manager, or start()"
            )
        return f"http://{host}:{port}"

    @property
    def base_url(self) -> str:
        """The same as :attr:`url`."""
        return self.url

    def reply(
        self,
        text: "str | Answer | Callable[[Request], str | Answer]" = "",
        *,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
        **fields: Unpack[ReplyFields],
    ) -> None:
        """Queue an answer to ``/api/chat``.

        Args:
            text: What the model says; or a :class:`Reply`; or a function that takes the
                :class:`Request` and returns either, run in the server's thread.
            model: Only for requests that name this model; ``None`` is for all.
            times: How many requests get this answer; ``None`` is for any number.
            fault: What goes wrong while it is sent: one of the faults, or several.
            **fields: The other fields of :class:`Reply`, such as ``thinking``, ``tool_calls``,
                ``pieces`` and ``delay``.
        """
        if isinstance(text, str):
            answer: Answer = Reply(text, faults=_several(fault), **fields)
        elif fields or fault:
            raise TypeError("a prepared answer takes only model= and times=")
        else:
            answer = Computed(text) if callable(text) else text
        self._script.add(Queued(answer, _CHAT, model, times))

    def replay(
        self,
        recording: str | Path | Recording,
        *,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
    ) -> Recording:
        """Queue a recorded exchange, byte for byte, for the path it was recorded on.

        Args:
            recording: A name in the directory of recordings, a path, or a recording.
            model: Only for requests that name this model; ``None`` is for all.
            times: How many requests get this answer; ``None`` is for any number.
            fault: What goes wrong while it is sent.

        Returns:
            The recording, to compare with what the client made of it.
        """
        if not isinstance(recording, Recording):
            recording = Recording.load(self._find(recording))
        answer = recording.with_faults(_several(fault))
        self._script.add(Queued(answer, recording.request.path, model, times))
        return recording

    def fail(
        self,
        status: int,
        error: Any = "",
        *,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = _CHAT,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
        **fields: Any,
    ) -> None:
        """Queue an answer with *status* and ``{"error": error}``.

        Args:
            status: The HTTP status code.
            error: The text, or any JSON value, under ``"error"``.
            body: The whole body instead, such as a page of HTML.
            headers: Such as ``{"Retry-After": "2"}`` or ``{"Content-Type": "text/html"}``.
            path: The path whose next request fails.
            model: Only for requests that name this model; ``None`` is for all.
            times: How many requests fail; ``None`` is for any number.
            fault: What else goes wrong while it is sent.
            **fields: Further fields beside ``"error"``, such as ``signin_url``.
        """
        answer = Failure(status, error, body, headers or {}, fields, _several(fault))
        self._script.add(Queued(answer, path, model, times))

    def redirect(
        self, location: str, *, status: int = 307, path: str = _CHAT, times: int | None = 1
    ) -> None:
        """Queue a redirect to *location*."""
        self.fail(status, body="", headers={"Location": location}, path=path, times=times)

    def require_key(self, key: str) -> None:
        """Answer 401 to requests without ``Authorization: Bearer`` and *key*, as Cloud does."""
        self._endpoints.key = key

    def add_model(self, name: str, **fields: Unpack[ModelFields]) -> None:
        """Have a model called *name*; from the first one on, only added and pulled ones exist.

        Before, every name is a model with the capabilities completion, tools, thinking and
        vision, and ``/api/tags`` lists none.

        Args:
            name: As in ``ollama list``; without a tag it is ``:latest``.
            **fields: The other fields of :class:`Model`, such as ``capabilities`` and
                ``context_length``.
        """
        self._endpoints.catalog.add(Model(name, **fields))

    @property
    def requests(self) -> list[Request]:
        """All requests, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def chats(self) -> list[Any]:
        """The parsed bodies of all requests to ``/api/chat``, oldest first."""
        return [request.json for request in self.requests if request.path == _CHAT]

    @property
    def disconnects(self) -> list[Disconnect]:
        """The clients that hung up before their answer was complete, oldest first."""
        with self._changed:
            return list(self._disconnects)

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones too."""
        with self._changed:
            return len(self._connections)

    def wait_until(self, condition: Callable[[], bool], timeout: float = _PATIENCE) -> None:
        """Block until *condition* holds; it is asked again whenever the server has news.

        Raises:
            TimeoutError: It did not hold within *timeout* seconds.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"the condition did not hold within {timeout:g} s")

    def wait_for_disconnect(self, timeout: float = _PATIENCE, *, count: int = 1) -> Disconnect:
        """Block until *count* clients have hung up; the last of them.

        Raises:
            TimeoutError: Fewer did within *timeout* seconds.
        """
        self.wait_until(lambda: len(self._disconnects) >= count, timeout)
        return self._disconnects[count - 1]

    async def disconnected(
        self,
        timeout: float = _PATIENCE,  # noqa: ASYNC109 - twin of the blocking one
        *,
        count: int = 1,
    ) -> Disconnect:
        """Like :meth:`wait_for_disconnect`, for tests that run in an event loop."""
        return await asyncio.to_thread(self.wait_for_disconnect, timeout, count=count)

    def verify(self) -> None:
        """Say what was not as scripted.

        Raises:
            InvalidRequest: A real server would have refused to decode a request.
            UnexpectedRequest: Nothing was queued for a request.
            UnconsumedReplies: Queued answers were never asked for.
        """
        __tracebackhide__ = True
        self._script.verify()

    def _run_loop(self, listener: socket.socket, is_ready: threading.Event) -> None:
        # Its own kind of loop, whatever policy the tests have set.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._run(listener, is_ready))

    async def _run(self, listener: socket.socket, is_ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._open_port(listener)
        is_ready.set()
        await self._stop.wait()
        await self._close_port()

    async def _open_port(self, listener: socket.socket) -> None:
        # asyncio's own Server loses connections that it accepts while it is being closed.
        self._listener = listener
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                accepted, _ = self._listener.accept()
                connecting = self._loop.connect_accepted_socket(self._connect, accepted)
                task = self._loop.create_task(connecting)
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def _close_port(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        await asyncio.gather(*self._connecting)
        for connection in list(self._connections):
            connection.abort()
        while self._connections:  # noqa: ASYNC110 - the loop's next turn closes them
            await asyncio.sleep(0)

    def _connect(self) -> Connection:
        connection = Connection(self._serve, self._disconnect)
        with self._changed:
            self._connections.add(connection)
            self._changed.notify_all()
        return connection

    def _disconnect(self, connection: Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    async def _serve(self, connection: Connection, request: Request) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
        response = self._endpoints.respond(request)
        if request.method == "HEAD":
            response = replace(response, pieces=())
        try:
            await connection.send(response)
        except Exception as error:  # noqa: BLE001 - a test's iterator may raise anything, and the test hears of it
            self._script.blame(FakeOllamaError(f"the answer to {request} broke off: {error!r}"))
            connection.abort()
        except asyncio.CancelledError:
            if connection.is_gone:
                with self._changed:
                    self._disconnects.append(Disconnect(request, connection.chunks_sent))
                    self._changed.notify_all()
            raise

    def _find(self, recording: str | Path) -> Path:
        path = Path(recording)
        if path.suffix != ".json" and self._recordings is not None:
            path = self._recordings / f"{recording}.json"
        return path


def _several(fault: Faults) -> Sequence[Fault]:
    return fault if isinstance(fault, Sequence) else (fault,)
