"""Which of several Ollama servers gets a request, and what is known of each of them.

A host is in one of three states:

- **living**: requests go there.
- **resting**: a request failed there. For a while the host is chosen last, and after that it gets
  one request at a time until it completes an answer.
- **dead**: it cannot be reached, or does not list its models. For a while it is left alone, and
  after that it is asked for its list before a request goes there again.

Both pauses double with every failure in a row. Among living hosts a request goes where it costs
least: requests under way there, and what the host would have to load, which is the model and the
beginning of the conversation.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Lock
from typing import Any, cast
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

_COLD_MODEL = 8
"""What loading the model costs a host, in requests under way."""

_COLD_PROMPT = 4
"""What reading the beginning of a conversation costs a host, in requests under way."""

_FAILED = 8
"""What each failure in a row costs a resting host, in requests under way."""

_MOST_CONVERSATIONS = 10_000
"""How many conversations are remembered; older ones are forgotten."""


@dataclass(slots=True, eq=False)
class Host:
    """One server, and what is known of it.

    Attributes:
        in_flight: How many requests are under way there.
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
    in_flight: int = 0
    loaded: set[str] = field(default_factory=set[str])
    seen: float = -inf
    is_asked: bool = False
    deaths: int = 0
    due: float = -inf
    failures: int = 0
    rests: float = -inf
    lacking: dict[str, float] = field(default_factory=dict[str, float])


class Hosts:
    """The hosts of a pool, usable from any event loop and thread.

    Args:
        wires: One for each server.
        clock: Counts seconds.
    """

    def __init__(self, wires: Sequence[Wire], clock: Callable[[], float]) -> None:
        self._hosts = [Host(wire) for wire in wires]
        self._clock = clock
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
            host.in_flight, host.is_asked = 0, False
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()
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

    def take(self, model: str, key: int | None, tried: Sequence[Host]) -> Host | None:
        """Return the best host for *model* that was not *tried*, and count a request there.

        Give it back with `leave`. None when every host was tried, or lacks the model.
        """
        now, name = self._clock(), tagged(model)
        with self._lock:
            left = [host for host in self._hosts if host not in tried]
            having = [host for host in left if host.lacking.get(name, now) <= now]
            if not having and tried:
                return None
            best = self._best(having or left, name, key, now)
            best.in_flight += 1
            if key is not None:
                self._settle(key, best)
            return best

    def _best(self, hosts: Sequence[Host], name: str, key: int | None, now: float) -> Host:
        living = [host for host in hosts if not host.deaths]
        if not living:  # a dead host may be back, so try one after the other
            return min(hosts, key=lambda host: (host.in_flight, host.due))
        home = None if key is None else self._homes.get(key)
        return min(living, key=lambda host: _rank(host, name, home, now))

    def _settle(self, key: int, host: Host) -> None:
        self._homes[key] = host
        self._homes.move_to_end(key)
        if len(self._homes) > _MOST_CONVERSATIONS:
            self._homes.popitem(last=False)

    def leave(self, host: Host) -> None:
        """Note that a request at *host* is over."""
        with self._lock:
            host.in_flight -= 1

    def note_answer(self, host: Host, model: str) -> None:
        """Note that *host* answers with *model*, which therefore is loaded."""
        host.deaths = 0
        host.loaded.add(tagged(model))

    def note_end(self, host: Host) -> None:
        """Note that *host* completed an answer."""
        host.failures, host.rests = 0, -inf

    def note_error(self, host: Host, model: str, error: OllamaError) -> None:
        """Note what *error* says about *host*."""
        if is_unreachable(error):
            self._bury(host)
        elif isinstance(error, OllamaTimeoutError):
            host.seen = -inf  # frozen, or loading a model: /api/ps tells, before the next request
        elif isinstance(error, ModelNotFoundError):
            host.lacking[tagged(model)] = self._clock() + _LACKING
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


def _rank(host: Host, model: str, home: Host | None, now: float) -> tuple[bool, int, int]:
    """Return what is least for the host to choose."""
    is_last = host.rests > now or (host.failures > 0 and host.in_flight > 0)
    cold_model = 0 if model in host.loaded else _COLD_MODEL
    # What a failing host may have in its cache draws no request there.
    is_home = home is None or home.failures > 0 or home is host
    cost = host.in_flight + cold_model + (0 if is_home else _COLD_PROMPT)
    return is_last, cost + (host.failures * _FAILED if is_last else 0), host.failures


def _names(listed: Any) -> set[str]:
    """Return the full names of the models in an answer of ``/api/ps``."""
    models: Any = cast("Mapping[str, Any]", listed).get("models") if _is_object(listed) else None
    entries = cast("list[Any]", models) if isinstance(models, list) else []
    return {tagged(str(entry.get("name"))) for entry in entries if _is_object(entry)}


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)
