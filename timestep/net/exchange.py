"""One request and its answer, owned by one task from connect to close.

An exchange passes these states in this order. It can leave each of them for the last two.

    new         Nothing was sent. The first look at the pieces starts the task.
    queued      The server has its ``max_concurrency`` of requests, or a command prints the key. No limit
                runs.
    connecting  The transport makes a connection, and has a time limit of its own.
    fragile     The same. Not cancelled: the transport would lose a half-made connection.
    waiting     The request is sent. The limit for the first byte runs.
    answering   Pieces arrive and wait for the reader. The limit between two pieces runs.
    closing     The connection is given back, or dropped when the body is not finished. Not cancelled.
    over        The reader gets the error or the end.

The task is cancelled at most once: by a limit that ran out, by a reader who closes, or by the end of
its event loop.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal, Protocol

from timestep.errors import TimestepError
from timestep.net import limits
from timestep.net.concurrency import Places
from timestep.net.connection import (
    Answer,
    Connections,
    Request,
    Silence,
    Step,
    TransportError,
    as_cause,
    drop_frames,
)
from timestep.net.failure_words import too_long, unforeseen
from timestep.net.key_command import KeyCommand
from timestep.net.secrets import masker, secrets_in_url
from timestep.net.timeouts import Timeouts
from timestep.net.watchdog import Watchdog
from timestep.net.wire_bytes import WireBytes
from timestep.net.wire_errors import WireErrors

_MOST_WAITING = 1_000_000
"""How many bytes wait for a slow reader. After that the socket is left to fill up."""

_PIECE = 16_384
"""How many bytes the reader gets at most. The objects they become should be few at once, or the
garbage collector looks through the whole application for them."""

_DRAIN_SECONDS = 0.5
"""How long the end of a finished body may take. After that its connection is given up."""


class Starter(Protocol):
    """The client of an exchange."""

    timeouts: Timeouts | None
    key_command: KeyCommand | None

    def begin(self, exchange: "Exchange") -> "asyncio.Task[None]":
        """Start the task that owns *exchange*."""
        ...

    def end(self, exchange: "Exchange") -> None:
        """Forget *exchange*, whose task has ended."""
        ...

    def connections(self) -> Connections:
        """Return the connections of the running loop."""
        ...


State = Literal["new", "queued", "connecting", "fragile", "waiting", "answering", "closing", "over"]
"""Where an exchange is; the module's opening tells."""


class Exchange:
    """Iterate the pieces of the answer's body, then close it.

    Iterating raises the errors that *errors* makes.
    """

    def __init__(
        self,
        client: Starter,  # starts the task, and opens the connections
        request: Request,  # sent when the first piece is asked for
        errors: WireErrors,  # makes the errors
        places: Places,  # the exchange waits for one of them, and keeps it until it is over
    ) -> None:
        self.request = request
        self._client = client
        self._errors = errors
        self._places = places
        # Prints the key of a request without one, and the next key when the server answers 401; then
        # the request is sent once more.
        self._key_command = None if _AUTHORIZATION in request.headers else client.key_command
        self._state: State = "new"
        self._task: asyncio.Task[None] | None = None
        self._pieces = _Pieces()
        self._error: BaseException | None = None
        self._is_released = False  # the reader has left
        self._watch = Watchdog(client.timeouts, self._expire)
        self._expired: Silence | None = None
        self._kept: WireBytes | None = None
        self.was_cut_off = False
        """True when its provider or its event loop was closed before it was over."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop it runs in, None before it is iterated."""
        return None if self._task is None else self._task.get_loop()

    @property
    def has_failed(self) -> bool:
        """True once the exchange ended in an error of the connection or the status."""
        return self._error is not None

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put the bytes of the request and of its answer into *kept* as well."""
        url = self.request.url
        kept.url, kept.request = masker(secrets_in_url(url))(url), self.request.body
        self._kept = kept

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._task is None:
            self._task = self._client.begin(self)
        if self._pieces:
            await asyncio.sleep(0)  # others run between two pieces, even when all have arrived
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._state == "over":
                raise StopAsyncIteration
            await self._pieces.change()
        return self._pieces.take()

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up; or, when the answer is *finished*, wait for the end of its body first.

        Not for long: see ``_DRAIN_SECONDS``. A task that reads on alone is lost with an event loop
        that ends without cancelling it, as that of ``Runner.run_sync()`` does.
        """
        task = self._task
        if task is None or task.done():
            self._client.end(self)  # a task that was cancelled before its first step did not
            return
        self._is_released = True
        if finished:
            self._pieces.make_room(everything=True)
            self._watch.expect("idle", _DRAIN_SECONDS)
            if self._state != "over":
                await self._pieces.change()
        elif self._can_be_cancelled():
            self._cancel()
            await asyncio.wait([task])
            self._client.end(self)

    async def own(self) -> None:
        """Own the exchange, from connect to close, in a task of its own."""
        try:
            self._state = "queued"
            if self._places.count is None:
                await self._run()
            else:
                async with self._places:
                    await self._run()
        except asyncio.CancelledError:
            if self._expired is None:
                self.was_cut_off = True
                self._error = self._errors.cut_off()
                raise
            self._error = self._errors.silent(self._expired, self._watch.limit)
        except TimestepError as exc:
            self._error = exc
        except TransportError as exc:
            timeouts = self._client.timeouts
            limit = None if timeouts is None else timeouts.connect
            self._error = self._errors.of(exc, connect_seconds=limit)
        except BaseException as exc:
            self._error = self._errors.failed(TransportError("exchange", unforeseen(exc)))
            self._error.__cause__ = as_cause(exc)
            if isinstance(exc, KeyboardInterrupt | SystemExit):
                raise  # they end the event loop
        finally:
            if self._error is not None:
                drop_frames(self._error)
            self._watch.stop()
            self._client.end(self)
            self._state = "over"
            self._pieces.wake()

    async def _run(self) -> None:
        command = self._key_command
        answer = await (self._send(self.request) if command is None else self._with_key_of(command))
        self._state = "answering"
        if self._kept is not None:
            self._kept.status = answer.status
        size = 0
        try:
            if answer.status // 100 != 2:  # noqa: PLR2004 - HTTP's own number
                raise await self._refusal(answer)
            async for data in answer.body:
                if not self._is_released:  # else a deadline runs, which talking does not move
                    size += len(data)
                    if size > limits.LONGEST:
                        raise TransportError("length", too_long())
                    self._watch.touch()
                    await self._hand_over(data)
        finally:
            self._state = "closing"
            await answer.aclose()

    async def _with_key_of(self, command: KeyCommand) -> Answer:
        """Send the request with the key of *command*, once more with the next one after a 401."""
        key = await command.key()
        answer = await self._send(_with_key(self.request, key))
        if answer.status != 401:  # noqa: PLR2004 - HTTP's own number
            return answer
        await answer.aclose()
        self._watch.pause()
        command.forget(key)
        return await self._send(_with_key(self.request, await command.key()))

    async def _send(self, request: Request) -> Answer:
        self._state = "waiting"
        self._watch.expect("first_byte")
        return await self._client.connections().send(request, self._guard)

    async def _refusal(self, answer: Answer) -> TimestepError:
        body = bytearray()
        self._watch.touch()  # no model is loaded for a refusal: the limit between pieces runs
        async for data in answer.body:
            self._watch.touch()
            body += data
            if len(body) > limits.LONGEST_REFUSAL:
                break
        if self._kept is not None:
            self._kept.response.append(bytes(body))
        return self._errors.refused(answer, bytes(body))

    async def _hand_over(self, data: bytes) -> None:
        if self._kept is not None:
            self._kept.response.append(data)
        if not self._pieces.put(data):
            self._watch.pause()  # the reader is slow, not the server
            await self._pieces.room()
            self._watch.touch()

    def _guard(self, step: Step) -> None:
        """Hear from the transport that connecting began or ended."""
        self._state = step
        if step != "waiting":
            self._watch.pause()
            return
        self._watch.expect("first_byte")
        if self._is_released:
            self._cancel()

    def _expire(self, phase: Silence) -> None:
        """Give up: nothing was heard for too long in *phase*."""
        self._expired = phase
        self._cancel()

    def _can_be_cancelled(self) -> bool:
        return self._state not in {"fragile", "closing"}

    def _cancel(self) -> None:
        """Cancel the task once; the end of its event loop may have done so already."""
        task = self._task
        if task is not None and self._can_be_cancelled() and not task.cancelling():
            task.cancel()


_AUTHORIZATION = "authorization"


def _with_key(request: Request, key: str) -> Request:
    return replace(request, headers={**request.headers, _AUTHORIZATION: f"Bearer {key}"})


class _Pieces:
    """The bytes between the task and its reader, of which only so many wait."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._reader: asyncio.Future[None] | None = None  # done at a change, while the reader waits
        self._owner: asyncio.Future[None] | None = None  # done when there is room, while it waits

    def __len__(self) -> int:
        return len(self._pieces)

    def put(self, data: bytes) -> bool:
        """Add *data*; False when so much waits that the next should wait for `room`."""
        if len(data) <= _PIECE:
            self._pieces.append(data)
        else:
            self._pieces.extend(data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
        self._waiting += len(data)
        self.wake()
        return self._waiting <= _MOST_WAITING

    def take(self) -> bytes:
        """Take the next bytes: one piece, or as many small ones as make one."""
        piece = self._pieces.popleft()
        size = len(piece)
        if self._pieces and size + len(self._pieces[0]) <= _PIECE:
            taken = [piece]
            while self._pieces and size + len(self._pieces[0]) <= _PIECE:
                taken.append(self._pieces.popleft())
                size += len(taken[-1])
            piece = b"".join(taken)
        self._waiting -= size
        self.make_room()
        return piece

    async def change(self) -> None:
        """Wait for bytes, or for the end."""
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    def wake(self) -> None:
        """End the wait for a change."""
        _finish(self._reader)

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        self._owner = asyncio.get_running_loop().create_future()
        await self._owner

    def make_room(self, *, everything: bool = False) -> None:
        """End the wait for room when there is some, or when the reader does not want *everything*."""
        if everything or self._waiting <= _MOST_WAITING:
            _finish(self._owner)


def _finish(wait: asyncio.Future[None] | None) -> None:
    if wait is not None and not wait.done():
        wait.set_result(None)
