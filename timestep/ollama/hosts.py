"""Chooses one of several Ollama servers for a request, by what is known about each.

A host is in one of three states:

- **living**: requests go there.
- **resting**: a request failed there. For a while the host is chosen last, and after that it gets
  one request at a time until it completes an answer.
- **dead**: it cannot be reached, or does not list its models. For a while it is left alone, and
  after that it is asked for its list before a request goes there again.

Both pauses double with every failure in a row. Among living hosts a request goes where it should
take the fewest seconds: what requests took there lately, for each one that is under way, and what
the host would have to load, which is the model and the beginning of the conversation. Requests of
other processes are seen in what ours took. Hosts that cost the same are taken in an order that
begins elsewhere in each process, so that processes which know nothing yet do not all go to one.
"""

import asyncio
import itertools
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from typing import Any
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
from timestep.net.foreign import entries, mapping
from timestep.net.forks import forget_in_children
from timestep.net.names import tagged
from timestep.ollama.wire import Wire

_FRESH = 5.0
"""For how many seconds a host's list of loaded models is trusted."""

_PATIENCE = 1.0
"""How many seconds a request waits for such lists."""

_LACKING = 60.0
"""For how many seconds a host that lacks a model is not asked for that model again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""How many seconds a dead host is left alone, and a resting one chosen last. Doubled each time."""

_COLD_MODEL = 8.0
"""What loading the model costs before a load was seen, in requests of the fastest host."""

_UNLOADED = 20.0
"""What it costs besides where another model may have to go, in the same unit: the requests of that
model have to end first, and the next one loads it again."""

_COLD_PROMPT = 2.0
"""What reading the beginning of a conversation costs, in the same unit."""

_FAILED = 8.0
"""What each failure in a row costs a resting host, in the same unit."""

_UNTRIED = 0.5
"""What a request is expected to take where none was seen, in the same unit: it is worth a try."""

_FREED = 0.3
"""What the host is worth more where a request ended last, in the same unit: its place is free."""

_NEWEST = 0.3
"""The weight of the newest request in what requests take at a host."""

_MEMORY = 10
"""After how many requests' time half of what made a host slow is forgotten."""

_SHORTEST = 0.001
"""The fewest seconds that a request is taken to last."""

_MOST_CONVERSATIONS = 10_000
"""How many conversations are remembered; older ones are forgotten."""


_pools = itertools.count()
"""How many pools there are in this process: each begins elsewhere."""


@dataclass(slots=True, eq=False)
class Stay:
    """One request at one host.

    Attributes:
        host: Where it is.
        model: By its full name; that of no model when any host will do.
        begun: When it was sent.
        is_cold: True when the model was not known to be loaded.
        waited: How many seconds it waited for the first piece of its answer; None before that.
    """

    host: "Host"
    model: str
    begun: float
    is_cold: bool
    waited: float | None = None


@dataclass(slots=True, eq=False)
class Host:
    """One server, and what is known of it.

    Attributes:
        stays: The requests that are under way there, the oldest first.
        took: How many seconds requests took there lately, without loading; None before the first.
        measured: When that was measured last.
        loaded: The models that are loaded, by full name.
        seen: When it was last asked for its loaded models.
        is_asked: True while it is being asked.
        deaths: How often in a row it was found dead; 0 while it lives.
        due: When it may be asked again while it is dead.
        failures: How often in a row a request failed there; 0 once it has completed an answer.
        rests: Until when it is chosen last.
        lacking: The models it lacks, each with the time until which that is trusted.
    """

    wire: Wire
    stays: dict[Stay, None] = field(default_factory=dict[Stay, None])
    took: float | None = None
    measured: float = 0.0
    loaded: set[str] = field(default_factory=set[str])
    seen: float = -inf
    is_asked: bool = False
    deaths: int = 0
    due: float = -inf
    failures: int = 0
    rests: float = -inf
    lacking: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def in_flight(self) -> int:
        """How many requests are under way there."""
        return len(self.stays)

    def expected(self, model: str, fastest: float, now: float) -> float:
        """Return how many seconds a request should take when the *fastest* host's takes so many."""
        if self.took is None:
            seconds = fastest * (_UNTRIED if model in self.loaded else 1)
        else:
            age = (now - self.measured) / (_MEMORY * self.took)
            seconds = fastest + (self.took - fastest) * 2**-age
        # A request that is still under way tells before it ends.
        oldest = next((stay for stay in self.stays if not stay.is_cold), None)
        return seconds if oldest is None else max(seconds, now - oldest.begun)

    def note_seconds(self, seconds: float, now: float) -> None:
        """Note that a request took so many *seconds*."""
        seconds = max(seconds, _SHORTEST)
        self.took = seconds if self.took is None else self.took + _NEWEST * (seconds - self.took)
        self.measured = now


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

    def __getitem__(self, index: int) -> Host:
        return self._hosts[index]

    @property
    def conversations(self) -> int:
        """How many conversations are remembered."""
        return len(self._homes)

    def forget_connections(self) -> None:
        """Start over in a forked process: what is under way is the parent's."""
        for host in self._hosts:
            host.is_asked = False
            host.stays.clear()
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()
        own = self._given_first
        # Workers that one parent forks have process ids in a row, and so get hosts in turn.
        self._first = _here() + self._count if own is None else own
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
                listed = await host.wire.get("/api/ps")
        except (OllamaConnectionError, OllamaTimeoutError, TimeoutError):
            self._bury(host)
        except OllamaError as exc:
            host.deaths = 0  # it lives, and is a proxy without such a list
            if isinstance(exc, ServerBusyError):
                self._rest(host)
        else:
            host.loaded, host.deaths = _names(listed), 0
        host.seen = self._clock()

    def take(self, model: str, key: int | None, tried: Sequence[Host]) -> Stay | None:
        """Return a stay at the best host for *model* that was not *tried*.

        End it with `leave`. None when every host was tried, or lacks the model.
        """
        now, name = self._clock(), tagged(model)
        with self._lock:
            left = [host for host in self._hosts if host not in tried]
            having = [host for host in left if host.lacking.get(name, now) <= now]
            if not having and tried:
                return None
            best = self._best(having or left, name, key, now)
            stay = Stay(best, name, now, is_cold=name not in best.loaded)
            best.stays[stay] = None
            if key is not None:
                self._settle(key, best)
            return stay

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

    def leave(self, stay: Stay) -> None:
        """Note that the request of *stay* is over."""
        with self._lock:
            stay.host.stays.pop(stay, None)  # a fork has forgotten it

    def note_answer(self, stay: Stay) -> None:
        """Note that the host answers with the model of *stay*, which therefore is loaded."""
        stay.waited = self._clock() - stay.begun
        stay.host.deaths = 0
        stay.host.loaded.add(stay.model)

    def note_end(self, stay: Stay) -> None:
        """Note that the host completed its answer to the request of *stay*, and what it took."""
        host, now = stay.host, self._clock()
        with self._lock:
            host.failures, host.rests = 0, -inf
            self._freed = host
            waited = stay.waited or 0.0
            if not stay.is_cold:
                host.note_seconds(now - stay.begun, now)
                return
            self._load = waited if self._load is None else (self._load + waited) / 2
            if host.took is None:
                host.note_seconds(now - stay.begun - waited, now)
            for each in self._hosts:  # other processes load models too: see what is where now
                each.seen = min(each.seen, now - _FRESH)

    def note_error(self, stay: Stay, error: OllamaError) -> None:
        """Note what *error* says about the host of *stay*."""
        host = stay.host
        if is_unreachable(error):
            self._bury(host)
        elif isinstance(error, OllamaTimeoutError):
            host.seen = -inf  # frozen, or loading a model: /api/ps tells, before the next request
        elif isinstance(error, ModelNotFoundError):
            host.lacking[stay.model] = self._clock() + _LACKING
        if _is_of_the_host(error):
            self._rest(host)

    def _bury(self, host: Host) -> None:
        with self._lock:
            now = self._clock()
            if host.deaths and now < host.due:
                return  # every request that was under way there reports the same death
            host.deaths += 1
            host.due = now + _pause(host.deaths)
            host.loaded = set()

    def _rest(self, host: Host) -> None:
        with self._lock:
            now = self._clock()
            if now < host.rests:
                return  # as above
            host.failures += 1
            host.rests = now + _pause(host.failures)


def is_unreachable(error: OllamaError) -> bool:
    """Return whether *error* says that there is no connection to the host."""
    return isinstance(error, OllamaConnectionError) or (
        isinstance(error, OllamaTimeoutError) and error.phase == "connect"
    )


def _is_of_the_host(error: OllamaError) -> bool:
    """Return whether another host may do better after *error*, as it passes and is the host's."""
    meaning = meaning_of(error)
    return meaning is not None and meaning.passes and meaning.fault == "host"


def _pause(times: int) -> float:
    return float(min(_FIRST_PAUSE * 2 ** min(times - 1, 10), _LONGEST_PAUSE))


def _here() -> int:
    """Return a number of this process, which is one more in the process that starts next."""
    return crc32(socket.gethostname().encode()) + os.getpid()


def _names(listed: Any) -> set[str]:
    """Return the full names of the models in an answer of ``/api/ps``."""
    models = filter(None, map(mapping, entries(mapping(listed).get("models"))))
    return {tagged(str(model.get("name"))) for model in models}
