"""A server that plays what a test scripts, whatever API it speaks."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias, Unpack

from timestep.testing.answers import Answer, Computed, ReplyFields, StatusAnswer
from timestep.testing.errors import FakeServerError
from timestep.testing.faults import Fault
from timestep.testing.http import Request
from timestep.testing.loopback import Connection, Disconnect, LoopbackServer
from timestep.testing.recordings import Recording
from timestep.testing.routes import Queued, Routes

Faults: TypeAlias = Fault | Sequence[Fault]


class ScriptedServer(LoopbackServer):
    """Serves queued answers in order. Use it as a context manager, plain or async."""

    _kind: ClassVar[Callable[..., Answer]]  # what a model answers on this server's wire

    def __init__(self, routes: Routes, *, strict: bool, recordings: Path | str | None) -> None:
        super().__init__()
        self.strict = strict
        self._recordings = None if recordings is None else Path(recordings)
        self._script = routes.script
        self._routes = routes

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        __tracebackhide__ = True  # pytest shows the test, not this
        self.close()
        if self.strict and exc_type is None:
            self.verify()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self.__exit__(exc_type)

    @property
    def chats(self) -> list[Any]:
        """The parsed bodies of all requests for an answer of a model, oldest first."""
        answering = self._routes.answering
        return [request.json for request in self.requests if request.path in answering]

    def reply(
        self,
        text: "str | Answer | Callable[[Request], str | Answer]" = "",
        *,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
        **fields: Unpack[ReplyFields],
    ) -> None:
        """Queue an answer of a model: `Reply` of Ollama, `ChatReply` of OpenAI's APIs.

        Args:
            text: What the model says; or a prepared answer; or a function that takes the
                `Request` and returns either, run in the server's thread.
            model: Only for requests that name this model; ``None`` is for all.
            times: How many requests get this answer; ``None`` is for any number.
            fault: What goes wrong while it is sent: one of the faults, or several.
            **fields: The other fields of the answer, such as ``thinking``, ``tool_calls``,
                ``pieces`` and ``delay``.
        """
        if isinstance(text, str):
            answer = self._kind(text, faults=several(fault), **fields)
        elif fields or fault:
            raise TypeError("a prepared answer takes only model= and times=")
        else:
            answer = Computed(text, self._kind) if callable(text) else text
        self._queue(answer, model=model, times=times)

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
            path = Path(recording)
            if path.suffix != ".json" and self._recordings is not None:
                path = self._recordings / f"{recording}.json"
            recording = Recording.load(path)
        answer = recording.with_faults(several(fault))
        self._queue(answer, recording.request.path, model=model, times=times)
        return recording

    def fail(
        self,
        status: int,
        error: Any = "",
        *,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        path: str | None = None,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
        **fields: Any,
    ) -> None:
        """Queue an answer with *status* and *error*, in the shape of this API.

        Args:
            status: The HTTP status code.
            error: The text of the error, or any JSON value in its place.
            body: The whole body instead, such as a page of HTML.
            headers: Such as ``{"Retry-After": "2"}`` or ``{"Content-Type": "text/html"}``.
            path: The path whose next request fails; by default the paths on which a model answers.
            model: Only for requests that name this model; ``None`` is for all.
            times: How many requests fail; ``None`` is for any number.
            fault: What else goes wrong while it is sent.
            **fields: Further fields of the error, such as ``signin_url`` or ``code``.
        """
        failure = StatusAnswer(status, error, body, headers or {}, fields, several(fault))
        self._queue(self._routes.shaped(failure), path, model=model, times=times)

    def redirect(self, location: str, *, status: int = 307) -> None:
        """Queue a redirect to *location*."""
        self.fail(status, body="", headers={"Location": location})

    def require_key(self, key: str) -> None:
        """Answer 401 to requests without ``Authorization: Bearer`` and *key*."""
        self._routes.key = key

    def verify(self) -> None:
        """Say what was not as scripted.

        Raises:
            InvalidRequest: A real server would have refused to decode a request.
            UnexpectedRequest: Nothing was queued for a request.
            UnconsumedReplies: Queued answers were never asked for.
        """
        __tracebackhide__ = True
        self._script.verify()

    def _queue(
        self, answer: Answer, path: str | None = None, *, model: str | None, times: int | None
    ) -> None:
        paths = self._routes.answering if path is None else (path,)
        self._script.add(Queued(answer, paths, model, times))

    async def _serve(self, connection: Connection, request: Request) -> None:
        self._tell(self._requests.append, request)
        response = self._routes.respond(request)
        if request.method == "HEAD":
            response = replace(response, pieces=())
        try:
            await connection.send(response)
        except Exception as error:  # noqa: BLE001 - a test's iterator may raise anything, and the test hears of it
            self._script.blame(FakeServerError(f"the answer to {request} broke off: {error!r}"))
            connection.abort()
        except asyncio.CancelledError:
            if connection.is_gone:
                self._tell(self._disconnects.append, Disconnect(request, connection.chunks_sent))
            raise


def several(fault: Faults) -> Sequence[Fault]:
    """Return *fault* as a sequence of faults."""
    return fault if isinstance(fault, Sequence) else (fault,)
