"""Chooses one of several Ollama servers for a request, by what is known about each.

A request goes to the living host (see `timestep.ollama.host`) that should need the fewest seconds
for it. The estimate is the time that requests took there lately, once for each request that is
running there, plus the time to load what the host does not have: the model, and the beginning of
the conversation. Requests of other processes count because they make ours slower. Hosts with the
same estimate are taken in order. Each process begins at a different host, so that new processes do
not all choose the same one.
"""

import asyncio
import itertools
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from math import inf
from threading import Lock
from weakref import WeakKeyDictionary
from zlib import crc32

from timestep.errors import (
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaError,
    OllamaTimeoutError,
    ServerBusyError,
)
from timestep.errors.meaning import meaning_of
from timestep.net.forks import forget_in_children
from timestep.net.model_names import tagged
from timestep.ollama.host import Host, RunningRequest
from timestep.ollama.shown import read_list
from timestep.ollama.wire import Wire

_FRESH = 5.0
"""For how many seconds a host's list of loaded models is trusted."""

_PATIENCE = 1.0
"""How many seconds a request waits for such lists."""

_LACKING = 60.0
"""For how many seconds a host that lacks a model is not asked for that model again."""

_COLD_MODEL = 8.0
"""What loading the model costs before a load was seen, in requests of the fastest host."""

_UNLOADED = 20.0
"""What loading the model costs in addition at a host that may have to unload another one, in the
same unit. The requests for that other model have to end first, and the next one loads it again."""

_COLD_PROMPT = 2.0
"""What reading the beginning of a conversation costs, in the same unit."""

_FAILED = 8.0
"""What each failure in a row costs a resting host, in the same unit."""

_FREED = 0.3
"""By how much the host where a request ended last is preferred, in the same unit: it has room."""

_MOST_CONVERSATIONS = 10_000
"""How many conversations are remembered; older ones are forgotten."""


_pools = itertools.count()
"""How many pools there are in this process: each begins elsewhere."""


class Hosts:
    """The hosts of a pool, usable from any event loop and thread.

    Args:
        wires: One for each server.
        clock: Counts seconds.
        first: The index of the host that is taken first among equal ones; by default each process
            has its own.
    """

    def __init__(
        self, wires: Sequence[Wire], clock: Callable[[], float], first: int | None = None
    ) -> None:
        self._hosts = [Host(wire) for wire in wires]
        self._clock = clock
        self._given_first, self._count = first, next(_pools)
        self._load: float | None = None
        self._freed: Host | None = None
        self._homes: OrderedDict[int, Host] = OrderedDict()
        self._begin()
        forget_in_children(self)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def forget_connections(self) -> None:
        """Start over in a forked process: what is under way is the parent's."""
        for host in self._hosts:
            host.is_asked = False
            host.requests.clear()
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()
        # Workers that one parent forks have process ids in a row, and so get hosts in turn.
        here = crc32(socket.gethostname().encode()) + os.getpid() + self._count
        self._first = here if self._given_first is None else self._given_first
        # The first requests of an event loop wait for one of them to ask all hosts.
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    async def look(self) -> None:
        """Ask hosts for their loaded models: those not asked lately, and dead ones that are due."""
        turn = self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        if turn.locked() and all(host.seen > -inf for host in self._hosts):
            return  # another request is asking, and what is known will do
        async with turn:
            unknown = self._take_unknown()
            try:
                await asyncio.gather(*map(self._look_at, unknown))
            finally:
                for host in unknown:
                    host.is_asked = False

    def _take_unknown(self) -> list[Host]:
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
        return unknown

    async def _look_at(self, host: Host) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                listed, _ = await host.wire.ask("/api/ps")
        except (OllamaConnectionError, OllamaTimeoutError, TimeoutError):
            with self._lock:
                host.bury(self._clock())
        except OllamaError as exc:
            host.deaths = 0  # it lives, and is a proxy without such a list
            if isinstance(exc, ServerBusyError):
                with self._lock:
                    host.rest(self._clock())
        else:
            host.loaded = {tagged(model.name) for model in read_list(listed)}
            host.deaths = 0
        host.seen = self._clock()

    def take(self, model: str, key: int | None, tried: Sequence[Host]) -> RunningRequest | None:
        """Begin a request at the best host for *model* that was not *tried*; `leave` ends it.

        None when every host was tried, or lacks the model.
        """
        now, name = self._clock(), tagged(model)
        with self._lock:
            left = [host for host in self._hosts if host not in tried]
            having = [host for host in left if host.lacking.get(name, now) <= now]
            if not having and tried:
                return None
            best = self._best(having or left, name, key, now)
            request = RunningRequest(best, name, now, is_cold=name not in best.loaded)
            best.requests[request] = None
            if key is not None:
                self._settle(key, best)
            return request

    def _best(self, hosts: Sequence[Host], name: str, key: int | None, now: float) -> Host:
        living = [host for host in hosts if not host.deaths]
        if not living:  # a dead host may be back, so try one after the other
            return min(hosts, key=lambda host: (host.in_flight, host.due))
        home = None if key is None else self._homes.get(key)
        fastest = min((host.took for host in self._hosts if host.took is not None), default=1.0)
        turns = sorted(range(len(living)), key=lambda at: (at - self._first) % len(living))
        return min(
            (living[at] for at in turns),
            key=lambda host: self._rank(host, name, home, fastest, now),
        )

    def _rank(
        self, host: Host, name: str, home: Host | None, fastest: float, now: float
    ) -> tuple[bool, float, int]:
        """Return what is least for the host to choose: among equal ones the first is chosen."""
        is_last = host.rests > now or (host.failures > 0 and host.in_flight > 0)
        # What a failing host may have in its cache draws no request there.
        is_home = home is None or home.failures > 0 or home is host
        extra = (0 if is_home else _COLD_PROMPT) - (_FREED if host is self._freed else 0)
        if name not in host.loaded:
            extra += _COLD_MODEL if self._load is None else max(self._load / fastest, 1)
            extra += _UNLOADED if host.loaded else 0
        if is_last:
            extra += host.failures * _FAILED
        seconds = host.expected(name, fastest, now) * (host.in_flight + 1) + extra * fastest
        return is_last, seconds, host.failures

    def _settle(self, key: int, host: Host) -> None:
        self._homes[key] = host
        self._homes.move_to_end(key)
        if len(self._homes) > _MOST_CONVERSATIONS:
            self._homes.popitem(last=False)

    def leave(self, request: RunningRequest) -> None:
        """Note that *request* is over."""
        with self._lock:
            request.host.requests.pop(request, None)  # a fork has forgotten it

    def note_answer(self, request: RunningRequest) -> None:
        """Note that the host answers *request*, so its model is loaded."""
        request.waited = self._clock() - request.begun
        request.host.deaths = 0
        request.host.loaded.add(request.model)

    def note_end(self, request: RunningRequest) -> None:
        """Note that the host completed its answer to *request*, and how long it took."""
        host, now = request.host, self._clock()
        with self._lock:
            host.failures, host.rests = 0, -inf
            self._freed = host
            waited = request.waited or 0.0
            if not request.is_cold:
                host.note_seconds(now - request.begun, now)
                return
            self._load = waited if self._load is None else (self._load + waited) / 2
            if host.took is None:
                host.note_seconds(now - request.begun - waited, now)
            for each in self._hosts:  # other processes load models too: see what is where now
                each.seen = min(each.seen, now - _FRESH)

    def note_error(self, request: RunningRequest, error: OllamaError) -> None:
        """Note what *error* says about the host of *request*."""
        host, now = request.host, self._clock()
        with self._lock:
            if is_unreachable(error):
                host.bury(now)
            elif isinstance(error, OllamaTimeoutError):
                # It is frozen, or loads a model: /api/ps tells, before the next request.
                host.seen = -inf
            elif isinstance(error, ModelNotFoundError):
                host.lacking[request.model] = now + _LACKING
            meaning = meaning_of(error)
            if meaning is not None and meaning.passes and meaning.fault == "host":
                host.rest(now)  # another host may do better


def is_unreachable(error: OllamaError) -> bool:
    """Return whether *error* says that there is no connection to the host."""
    return isinstance(error, OllamaConnectionError) or (
        isinstance(error, OllamaTimeoutError) and error.phase == "connect"
    )
