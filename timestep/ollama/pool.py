"""Several Ollama servers used as one, and how a request moves among them.

A request goes to the best host. When that host cannot be reached or lacks the model, it goes to
the next one, and when it is busy, to one more. Once an answer has begun, it stays where it is.
`timestep.ollama.host_choice` says which host is best.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from timestep.answer.chunks import Chunk
from timestep.errors import (
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaError,
    ServerBusyError,
    TimestepError,
)
from timestep.net.encoding import encode
from timestep.net.origin import Origin
from timestep.net.wire_bytes import WireBytes
from timestep.ollama.host import Host, RunningRequest
from timestep.ollama.host_choice import Hosts, is_unreachable
from timestep.ollama.source import Chat, ChatSource
from timestep.ollama.wire import Wire, WireChat


class Pool(ChatSource):
    """The connections to several servers, usable from any event loop and thread."""

    def __init__(
        self,
        wires: Sequence[Wire],  # one for each server
        *,
        clock: Callable[[], float] = time.monotonic,  # counts seconds
        # The index of the server that is asked first among equal ones; by default each process has
        # its own.
        first: int | None = None,
    ) -> None:
        self._hosts = Hosts(wires, clock, first)
        self.endpoint = wires[0].endpoint  # the others have the same names for models

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy the servers and not what is known of them."""
        return Pool, (self.wires,)

    @property
    def wires(self) -> list[Wire]:
        """The connection to each server."""
        return [host.wire for host in self._hosts]

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return all servers as the origin of *model*. `PoolStream.origin` knows which one it is."""
        origins = [wire.origin(model, headers) for wire in self.wires]
        secrets = tuple(secret for origin in origins for secret in origin.secrets)
        hosts = ", ".join(origin.host for origin in origins)
        return Origin(model, hosts, secrets, origins[0].printed)  # one command for all of them

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "PoolStream":
        """Return one exchange of ``POST /api/chat`` with one of the servers."""
        return PoolStream(self._hosts, self.origin(model, headers), body, headers, model)

    async def ask(
        self, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[Any, Origin]:
        """Return the JSON that the first server answers, and which one it is."""
        visit = _Visit(self._hosts, str((body or {}).get("model") or ""), None)
        while True:
            host = await visit.next_host()
            try:
                return await host.wire.ask(path, body, headers)
            except OllamaError as exc:
                if not visit.moves_on(exc):
                    raise
            finally:
                visit.leave()

    async def aclose(self) -> None:
        """Close the connections of the running loop; those of other loops close with their loops."""
        for wire in self.wires:
            await wire.aclose()


class PoolStream(Chat):
    """One exchange with one server, or with another one when that fails before it answers."""

    def __init__(
        self,
        hosts: Hosts,  # the servers
        origin: Origin,  # all of them
        body: Mapping[str, Any],  # the request
        headers: Mapping[str, str],  # those beside the endpoint's own
        model: str,  # the name the caller used
    ) -> None:
        super().__init__(origin)  # later that of the server that was asked last
        self._request = (body, headers, model)
        self._visit = _Visit(hosts, str(body["model"]), _conversation(body))
        self._stream: WireChat | None = None
        self._kept: WireBytes | None = None
        self._has_begun = False

    def rescue(self, error: TimestepError) -> list[Chunk]:
        """Note *error*, which was raised here or found in the answer, and raise it."""
        stream = self._stream
        if (
            isinstance(error, OllamaError)
            and stream is not None
            and not stream.exchange.was_cut_off
        ):
            self._visit.note_error(error)
        return super().rescue(error)

    def keep_bytes(self, kept: WireBytes) -> None:
        """Copy the bytes of the request, and of the answer that counts, to *kept*."""
        self._kept = kept

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._stream is None:
                self._stream = await self._begin()
            try:
                piece = await anext(self._stream.exchange)
            except OllamaError as exc:
                if not self._goes_on(self._stream, exc):
                    raise
                self._stream = None
            else:
                if not self._has_begun:
                    self._has_begun = True
                    self._visit.note_answer()
                return piece

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""
        if finished:
            self._visit.note_end()
        try:
            if self._stream is not None:
                await self._stream.aclose(finished=finished)
        finally:
            self._visit.leave()

    async def _begin(self) -> WireChat:
        body, headers, model = self._request
        host = await self._visit.next_host()
        stream = host.wire.chat(body, headers, model)
        self.origin, self.host = stream.origin, stream.host
        if self._kept is not None:
            self._kept.status = None
            self._kept.response.clear()
            stream.keep_bytes(self._kept)
        return stream

    def _goes_on(self, stream: WireChat, error: OllamaError) -> bool:
        if stream.exchange.was_cut_off:  # here, not there
            return False
        moves_on = self._visit.moves_on(error)
        self._visit.leave()
        return moves_on and not self._has_begun


class _Visit:
    """The way of one request from host to host, to each of them at most once."""

    def __init__(self, hosts: Hosts, model: str, key: int | None) -> None:
        self._hosts = hosts
        self._model = model
        self._key = key
        self._tried: list[Host] = []
        self._errors: list[OllamaError] = []
        self._running: RunningRequest | None = None

    async def next_host(self) -> Host:
        """Return the next host, which counts the request until `leave`."""
        if not self._tried:
            await self._hosts.look()
        self._running = self._hosts.take(self._model, self._key, self._tried)
        if self._running is None:
            raise _all_failed(self._errors) from self._errors[-1]
        self._tried.append(self._running.host)
        return self._running.host

    def note_answer(self) -> None:
        """Note that the current host answers."""
        if self._running is not None:
            self._hosts.note_answer(self._running)

    def note_end(self) -> None:
        """Note that the current host completed its answer."""
        if self._running is not None:
            self._hosts.note_end(self._running)

    def note_error(self, error: OllamaError) -> None:
        """Note *error* of the current host."""
        if self._running is not None:
            self._hosts.note_error(self._running, error)

    def moves_on(self, error: OllamaError) -> bool:
        """Note *error* of the current host; return whether another host may be asked instead."""
        self.note_error(error)
        # When the next one is busy too, all are, and asking all of them would make it worse.
        was_busy = any(isinstance(known, ServerBusyError) for known in self._errors)
        self._errors.append(error)
        if isinstance(error, ServerBusyError):
            return not was_busy
        return is_unreachable(error) or isinstance(error, ModelNotFoundError)

    def leave(self) -> None:
        """Note that the request is no longer with its host; safe to call twice."""
        request, self._running = self._running, None
        if request is not None:
            self._hosts.leave(request)


def _all_failed(errors: Sequence[OllamaError]) -> OllamaError:
    """Return the error for a request that every host failed: a living one's words count most."""
    telling = [error for error in errors if not is_unreachable(error)]
    if telling:
        return telling[-1]
    if len(errors) == 1:
        return errors[0]
    hosts = ", ".join(str(error.host) for error in errors)
    return OllamaConnectionError(
        f"None of the {len(errors)} Ollama servers can be reached ({hosts}); the first: {errors[0]}",
        model=errors[0].model,
        host=hosts,
    )


def _conversation(body: Mapping[str, Any]) -> int:
    """Return a key for what stays the same from turn to turn: all up to the first user message."""
    opening: list[Any] = []
    for message in body["messages"]:
        opening.append(message)
        if message.get("role") == "user":
            break
    return hash(encode({"model": body["model"], "messages": opening}))
