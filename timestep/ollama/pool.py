"""Several Ollama servers used as one: where a request goes, and what happens when one is down.

A request goes to the living host where it costs least: requests under way there, and what it has
to load again (the model, the conversation's prompt). A host that cannot be reached, or does not tell
its models, is dead: it is left alone for a while and then asked for them before anybody is sent there
again. One that fails a request in any other way rests: it is chosen last for a while, and then for
one request at a time until it completes an answer.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from timestep.errors import (
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaError,
    OllamaTimeoutError,
    ServerBusyError,
)
from timestep.errors.meaning import meaning_of
from timestep.net.forks import forget_in_children
from timestep.net.origin import Origin
from timestep.net.wire_bytes import WireBytes
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.names import tagged
from timestep.ollama.request.encoding import encode
from timestep.ollama.wire import Wire, WireChat

_Answer = TypeVar("_Answer")

_FRESH = 5.0
"""How many seconds a host's list of loaded models is believed."""

_PATIENCE = 1.0
"""How many seconds a request waits for such lists."""

_LACKING = 60.0
"""For how many seconds a host that has no such model is not asked for it again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""How many seconds a dead host is left alone, and a failing one chosen last: doubled each time."""

_COLD_MODEL = 8
"""A host that has to load the model counts as if it had so many more requests under way."""

_COLD_PROMPT = 4
"""The same for a host that did not see the beginning of the conversation."""

_FAILED = 8
"""The same among hosts that are chosen last, for each request in a row that failed there."""

_MOST_CONVERSATIONS = 10_000
"""So many conversations are remembered, the latest ones."""


@dataclass(slots=True, eq=False)
class _Host:
    """One server, and what is known of it.

    Attributes:
        in_flight: How many requests are under way there.
        loaded: The models that are loaded, by full name.
        seen: When its list was last asked for.
        is_asked: Somebody is asking for it just now.
        deaths: How often in a row it was found dead; 0 for a living one.
        due: When a dead one may be asked again.
        failures: How often in a row a request failed there; 0 once it has completed an answer.
        rests: Until when one that failed is chosen last.
        lacking: Models it does not have, with the time until which that is believed.
    """

    wire: Wire
    in_flight: int = 0
    loaded: set[str] = field(default_factory=set[str])
    seen: float = -inf
    is_asked: bool = False
    deaths: int = 0
    due: float = -inf
    failures: int = 0
    rests: float = -inf
    lacking: dict[str, float] = field(default_factory=dict[str, float])


class Pool:
    """The connections to several servers, usable from any event loop and thread.

    Args:
        wires: One for each server.
        clock: Counts seconds.
    """

    def __init__(
        self, wires: Sequence[Wire], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._hosts = [_Host(wire) for wire in wires]
        self._clock = clock
        self._homes: OrderedDict[int, _Host] = OrderedDict()
        self._start_over()
        forget_in_children(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy learns for itself."""
        return Pool, (self.wires,)

    def forget_connections(self) -> None:
        """Begin anew in a forked process: what is under way is the parent's."""
        for host in self._hosts:
            host.in_flight, host.is_asked = 0, False
        self._start_over()

    def _start_over(self) -> None:
        self._lock = Lock()
        # The first requests of an event loop wait for one of them to ask all hosts.
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @property
    def wires(self) -> list[Wire]:
        """The connection to each server."""
        return [host.wire for host in self._hosts]

    @property
    def endpoint(self) -> Endpoint:
        """The first server; the others call models the same."""
        return self._hosts[0].wire.endpoint

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Who may be asked for *model*: all of the servers. See `PoolStream.origin` for one."""
        origins = [wire.origin(model, headers) for wire in self.wires]
        secrets = tuple(secret for origin in origins for secret in origin.secrets)
        return Origin(model, ", ".join(origin.host for origin in origins), secrets)

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """Nothing: the bytes are our own."""
        return []

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "PoolStream":
        """One exchange of ``POST /api/chat`` with one of the servers."""
        return PoolStream(self, body, headers, model)

    async def get(self, path: str) -> Any:
        """The JSON that ``GET path`` answers at a server that answers.

        Raises:
            OllamaError: None did.
        """
        return await self._ask(lambda wire: wire.get(path), "")

    async def post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON that ``POST path`` answers to *body* at a server that has its model.

        Raises:
            OllamaError: None did.
        """
        return (await self.ask(path, body, headers))[0]

    async def ask(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Origin]:
        """The same, and the server that answered.

        Raises:
            OllamaError: None did.
        """
        return await self._ask(
            lambda wire: wire.ask(path, body, headers), str(body.get("model") or "")
        )

    async def aclose(self) -> None:
        """Hang up and close in the running loop; connections of others close with their loops."""
        for wire in self.wires:
            await wire.aclose()

    async def look(self) -> None:
        """Ask hosts for their loaded models, where that is not known, or a dead one may be back."""
        turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        if turn.locked() and all(host.seen > -inf for host in self._hosts):
            return  # somebody looks already, and what is known will do
        async with turn:
            now = self._clock()
            with self._lock:
                unknown = [
                    host
                    for host in self._hosts
                    if not host.is_asked
                    and (host.due <= now if host.deaths else host.seen + _FRESH <= now)
                ]
                for host in unknown:
                    host.is_asked = True
            try:
                await asyncio.gather(*map(self._look_at, unknown))
            finally:
                for host in unknown:
                    host.is_asked = False

    async def _look_at(self, host: _Host) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                listed = await host.wire.get("/api/ps")
        except (OllamaConnectionError, OllamaTimeoutError, TimeoutError):
            self._bury(host)
        except OllamaError as exc:
            host.deaths = 0  # it lives, and is a proxy that tells nothing
            if isinstance(exc, ServerBusyError):
                self._rest(host)
        else:
            host.loaded, host.deaths = _names(listed), 0
        host.seen = self._clock()

    def take(self, model: str, key: int | None, tried: Sequence[_Host]) -> _Host | None:
        """The best host for *model* that was not *tried*; give it back with `leave`."""
        now, name = self._clock(), tagged(model)
        with self._lock:
            left = [host for host in self._hosts if host not in tried]
            having = [host for host in left if host.lacking.get(name, now) <= now]
            if not having and tried:
                return None
            left = having or left
            living = [host for host in left if not host.deaths]
            if living:
                home = None if key is None else self._homes.get(key)
                best = min(living, key=lambda host: _rank(host, name, home, now))
            else:  # hope beats certain failure, one host after the other
                best = min(left, key=lambda host: (host.in_flight, host.due))
            best.in_flight += 1
            if key is not None:
                self._homes[key] = best
                self._homes.move_to_end(key)
                if len(self._homes) > _MOST_CONVERSATIONS:
                    self._homes.popitem(last=False)
            return best

    def leave(self, host: _Host) -> None:
        """Note that a request at *host* is over."""
        with self._lock:
            host.in_flight -= 1

    def note_answer(self, host: _Host, model: str) -> None:
        """Note that *host* answers with *model*, which therefore is loaded."""
        host.deaths = 0
        host.loaded.add(tagged(model))

    def note_end(self, host: _Host) -> None:
        """Note that *host* completed an answer."""
        host.failures, host.rests = 0, -inf

    def note_error(self, host: _Host, model: str, error: OllamaError) -> None:
        """Note what *error* tells about *host*."""
        if _is_unreachable(error):
            self._bury(host)
        elif isinstance(error, OllamaTimeoutError):
            host.seen = -inf  # frozen, or loading a model: /api/ps tells, before the next request
        elif isinstance(error, ModelNotFoundError):
            host.lacking[tagged(model)] = self._clock() + _LACKING
        if _is_of_the_host(error):
            self._rest(host)

    def _bury(self, host: _Host) -> None:
        with self._lock:
            now = self._clock()
            if host.deaths and now < host.due:
                return  # all requests that were under way there tell of the same death
            host.deaths += 1
            host.due = now + _pause(host.deaths)
            host.loaded = set()

    def _rest(self, host: _Host) -> None:
        with self._lock:
            now = self._clock()
            if now < host.rests:
                return  # as above
            host.failures += 1
            host.rests = now + _pause(host.failures)

    async def _ask(self, ask: Callable[[Wire], Awaitable[_Answer]], model: str) -> _Answer:
        visit = _Visit(self, model, None)
        while True:
            host = await visit.next_host()
            try:
                return await ask(host.wire)
            except OllamaError as exc:
                if not visit.moves_on(exc):
                    raise
            finally:
                visit.leave()


class PoolStream:
    """One exchange with one server; with another when that one fails before it answers.

    Args:
        pool: The servers.
        body: Of the request.
        headers: Beside the endpoint's own.
        model: The name the caller used.
    """

    def __init__(
        self, pool: Pool, body: Mapping[str, Any], headers: Mapping[str, str], model: str
    ) -> None:
        self._pool = pool
        self._request = (body, headers, model)
        self._visit: _Visit | None = None
        self._stream: WireChat | None = None
        self._kept: WireBytes | None = None
        self._has_begun = False

    @property
    def host(self) -> str | None:
        """The scheme and authority of the server that was asked last; None before that."""
        return None if self._stream is None else self._stream.host

    @property
    def origin(self) -> Origin:
        """The server that was asked last; before that, all of them."""
        _, headers, model = self._request
        return self._pool.origin(model, headers) if self._stream is None else self._stream.origin

    def note_error(self, error: OllamaError) -> None:
        """Hear of *error* in the answer, or raised here."""
        if self._visit is not None and self._stream is not None and not self._stream.was_cut_off:
            self._visit.note_error(error)

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put the bytes of the request and of the answer that counts into *kept* as well."""
        self._kept = kept

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._stream is None:
                self._stream = await self._begin()
            try:
                piece = await anext(self._stream)
            except OllamaError as exc:
                if not self._goes_on(self._stream, exc):
                    raise
                self._stream = None
            else:
                self._note_answer()
                return piece

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""
        if finished and self._visit is not None:
            self._visit.note_end()
        try:
            if self._stream is not None:
                await self._stream.aclose(finished=finished)
        finally:
            if self._visit is not None:
                self._visit.leave()

    async def _begin(self) -> WireChat:
        body, headers, model = self._request
        if self._visit is None:
            self._visit = _Visit(self._pool, str(body["model"]), _conversation(body))
        host = await self._visit.next_host()
        stream = host.wire.chat(body, headers, model)
        if self._kept is not None:
            self._kept.status = None
            self._kept.response.clear()
            stream.keep_bytes(self._kept)
        return stream

    def _goes_on(self, stream: WireChat, error: OllamaError) -> bool:
        assert self._visit is not None, "a stream without a host"  # noqa: S101 - an invariant
        if stream.was_cut_off:  # here, not there
            return False
        moves_on = self._visit.moves_on(error)
        self._visit.leave()
        return moves_on and not self._has_begun

    def _note_answer(self) -> None:
        if not self._has_begun and self._visit is not None:
            self._has_begun = True
            self._visit.note_answer()


class _Visit:
    """The way of one request through the pool: to one host after the other, to each once.

    Args:
        pool: The hosts.
        model: As the hosts call it; empty where that does not matter.
        key: Of the conversation, whose prompt a host may have in its cache.
    """

    def __init__(self, pool: Pool, model: str, key: int | None) -> None:
        self._pool = pool
        self._model = model
        self._key = key
        self._tried: list[_Host] = []
        self._errors: list[OllamaError] = []
        self._host: _Host | None = None

    async def next_host(self) -> _Host:
        """The next one; it counts as busy until `leave`.

        Raises:
            OllamaError: None is left.
        """
        if not self._tried:
            await self._pool.look()
        self._host = self._pool.take(self._model, self._key, self._tried)
        if self._host is None:
            raise _nobody(self._errors) from self._errors[-1]
        self._tried.append(self._host)
        return self._host

    def note_answer(self) -> None:
        """Note that the current host answers."""
        if self._host is not None:
            self._pool.note_answer(self._host, self._model)

    def note_end(self) -> None:
        """Note that the current host completed its answer."""
        if self._host is not None:
            self._pool.note_end(self._host)

    def note_error(self, error: OllamaError) -> None:
        """Note *error* of the current host."""
        if self._host is not None:
            self._pool.note_error(self._host, self._model, error)

    def moves_on(self, error: OllamaError) -> bool:
        """Note *error* of the current host; True when another host may be asked instead."""
        self.note_error(error)
        # When the next one is busy too, all are, and asking all of them would make it worse.
        was_busy = any(isinstance(known, ServerBusyError) for known in self._errors)
        self._errors.append(error)
        if isinstance(error, ServerBusyError):
            return not was_busy
        return _is_unreachable(error) or isinstance(error, ModelNotFoundError)

    def leave(self) -> None:
        """Note that the request is no longer with its host; safe to call twice."""
        host, self._host = self._host, None
        if host is not None:
            self._pool.leave(host)


def _pause(times: int) -> float:
    return float(min(_FIRST_PAUSE * 2 ** min(times - 1, 10), _LONGEST_PAUSE))


def _rank(host: _Host, model: str, home: _Host | None, now: float) -> tuple[bool, int, int]:
    """What is least for the host to choose."""
    is_last = host.rests > now or (host.failures > 0 and host.in_flight > 0)
    cold_model = 0 if model in host.loaded else _COLD_MODEL
    # Nobody is drawn to a failing host by what it may have in its cache.
    is_home = home is None or home.failures > 0 or home is host
    cost = host.in_flight + cold_model + (0 if is_home else _COLD_PROMPT)
    return is_last, cost + (host.failures * _FAILED if is_last else 0), host.failures


def _is_unreachable(error: OllamaError) -> bool:
    return isinstance(error, OllamaConnectionError) or (
        isinstance(error, OllamaTimeoutError) and error.phase == "connect"
    )


def _is_of_the_host(error: OllamaError) -> bool:
    """Return whether *error* passes and is the host's, so that another host may not have it."""
    meaning = meaning_of(error)
    return meaning is not None and meaning.passes and meaning.fault == "host"


def _nobody(errors: Sequence[OllamaError]) -> OllamaError:
    """The error for a request that no host took: what a living one said, else what all did."""
    telling = [error for error in errors if not _is_unreachable(error)]
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
    """What stays the same from turn to turn: the model, and all up to the user's first words."""
    opening: list[Any] = []
    for message in body["messages"]:
        opening.append(message)
        if message.get("role") == "user":
            break
    return hash(encode({"model": body["model"], "messages": opening}))


def _names(listed: Any) -> set[str]:
    """The full names of the models in an answer of ``/api/ps``."""
    models: Any = cast("Mapping[str, Any]", listed).get("models") if _is_object(listed) else None
    entries = cast("list[Any]", models) if isinstance(models, list) else []
    return {tagged(str(entry.get("name"))) for entry in entries if _is_object(entry)}


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)
