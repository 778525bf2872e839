"""The host pool beside HAProxy's leastconn, on simulated servers: ``python -m bench.pool``.

The pool is the real one. Its servers are simulated and so is the clock: an event loop that skips
every wait, so that minutes of traffic take a fraction of a second and end the same way each time.
A server has slots (as OLLAMA_NUM_PARALLEL), a queue, a time for each request, a time to load a
model, room for a number of models, and a cache of prompts whose miss costs extra. Each process is a
pool of its own, which sees its own requests alone. HAProxy sees them all.
"""

import argparse
import asyncio
import itertools
import math
import random
import selectors
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from timestep.errors import OllamaConnectionError, OllamaError
from timestep.net.model_names import tagged
from timestep.net.origin import Origin
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.host import Host, RunningRequest
from timestep.ollama.host_choice import Hosts
from timestep.ollama.pool import Pool

_NETWORK = 0.001
"""How many seconds a server is away."""


class _Skipping(selectors.SelectSelector):
    """Waits for nothing: simulated time passes instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return what is ready, and let *timeout* pass."""
        if timeout is None:
            raise RuntimeError("Every task waits for another one: the simulation stands still.")
        self.now += max(timeout, 0.0)
        return super().select(0)


class Simulation(asyncio.SelectorEventLoop):
    """An event loop in simulated time, which begins at 0."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self._skipping.now


@dataclass(frozen=True)
class Machine:
    """What a server is made of.

    Attributes:
        slots: How many requests it works on at once.
        seconds: What a request takes.
        load: How many seconds a model takes to load.
        fits: How many models fit.
        prompt: How many seconds a prompt costs that is not in the cache.
        is_dead: True when the server does not answer.
    """

    slots: int = 2
    seconds: float = 0.5
    load: float = 1.0
    fits: int = 1
    prompt: float = 0.0
    is_dead: bool = False


class Server:
    """A simulated Ollama server.

    Args:
        name: Its URL.
        machine: What it is made of.
        chance: Varies the seconds of a request by a fifth.
    """

    def __init__(self, name: str, machine: Machine, chance: random.Random) -> None:
        self.endpoint = Endpoint(name, {})
        self.machine = machine
        self.answered = 0
        self.loads = 0
        self.loaded: OrderedDict[str, set[object]] = OrderedDict()  # each with its warm prompts
        self._chance = chance
        self._running: Counter[str] = Counter()
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._is_loading = False

    async def answer(self, model: str, prompt: object) -> AsyncIterator[bytes]:
        """Answer in two pieces, the first token and the rest."""
        await asyncio.sleep(_NETWORK)
        if self.machine.is_dead:
            raise OllamaConnectionError("refused", model=model, host=self.endpoint.base_url)
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((model, turn))
        self._proceed()
        await turn
        try:
            seconds = self.machine.seconds * self._chance.uniform(0.8, 1.2)
            warm = self.loaded.get(model, set())
            missed = 0.0 if prompt in warm else self.machine.prompt
            await asyncio.sleep(seconds * 0.1 + missed)
            warm.add(prompt)
            yield b"first"
            await asyncio.sleep(seconds * 0.9)
            yield b"rest"
            self.answered += 1
        finally:
            self._running[model] -= 1
            self._proceed()

    def _proceed(self) -> None:
        """Start what can start: the queue keeps its order, and a model loads alone."""
        while self._queue and not self._is_loading:
            model, turn = self._queue[0]
            if self._running.total() >= self.machine.slots:
                return
            if model in self.loaded:
                self._queue.popleft()
                self.loaded.move_to_end(model)
                self._running[model] += 1
                turn.set_result(None)
            elif self._make_room():
                self._is_loading = True
                self.loads += 1
                loop = asyncio.get_running_loop()
                loop.call_later(self.machine.load, self._finish_loading, model)
            else:
                return

    def _make_room(self) -> bool:
        if len(self.loaded) >= self.machine.fits:
            idle = [model for model in self.loaded if not self._running[model]]
            if not idle:
                return False
            del self.loaded[idle[0]]
        return True

    def _finish_loading(self, model: str) -> None:
        self.loaded[model] = set()
        self._is_loading = False
        self._proceed()


class SimulatedWire:
    """The connection of one pool to a simulated server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.endpoint = server.endpoint

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return the server."""
        return Origin(model, self.endpoint.base_url)

    async def ask(self, path: str) -> tuple[Any, Origin]:
        """Return the loaded models."""
        await asyncio.sleep(2 * _NETWORK)
        if self.server.machine.is_dead:
            raise OllamaConnectionError("refused", host=self.endpoint.base_url)
        return {"models": [{"name": name} for name in self.server.loaded]}, self.origin(None)

    def chat(
        self, body: Mapping[str, Any], headers: Mapping[str, str], model: str
    ) -> "SimulatedChat":
        """Return one exchange."""
        return SimulatedChat(self.server, model, body["messages"][0]["content"])


class SimulatedChat:
    """One exchange with a simulated server."""

    was_cut_off = False

    def __init__(self, server: Server, model: str, prompt: object) -> None:
        self.host = server.endpoint.base_url
        self.origin = Origin(model, self.host)
        self.exchange = self
        self._pieces = server.answer(tagged(model), prompt)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    def __anext__(self) -> Any:
        return anext(self._pieces)

    def note_error(self, error: OllamaError) -> None:
        """Do nothing."""

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up."""


class FormerHosts(Hosts):
    """The choice as it was before the pool learned from what requests took, to measure beside it.

    Ties went to the first host, and a host without the model cost eight requests.
    """

    def _best(self, hosts: Sequence[Host], name: str, key: int | None, now: float) -> Host:
        living = [host for host in hosts if not host.deaths]
        if not living:
            return min(hosts, key=lambda host: (host.in_flight, host.due))
        home = None if key is None else self._homes.get(key)

        def rank(host: Host) -> tuple[bool, int, int]:
            is_last = host.rests > now or (host.failures > 0 and host.in_flight > 0)
            away = 0 if home is None or home.failures > 0 or home is host else 4
            cold = 0 if name in host.loaded else 8
            return is_last, host.in_flight + cold + away, host.failures

        return min(living, key=rank)

    def note_end(self, request: RunningRequest) -> None:
        """Note that the host completed its answer."""
        request.host.failures, request.host.rests = 0, -math.inf


Ask = Callable[[str, str], Coroutine[Any, Any, None]]
"""Asks a model a question."""


def pooled(hosts: type[Hosts]) -> Callable[[Sequence[Server], int], list[Ask]]:
    """Return a router of pools that choose as *hosts* do."""

    def route(servers: Sequence[Server], first: int) -> list[Ask]:
        clock = asyncio.get_running_loop().time
        wires: Any = [SimulatedWire(server) for server in servers]
        pool = Pool(wires, clock=clock, first=first)
        pool._hosts = hosts(wires, clock, first)  # noqa: SLF001 - the former choice is not an option

        async def ask(model: str, question: str) -> None:
            body = {"model": model, "messages": [{"role": "user", "content": question}]}
            exchange = pool.chat(body, {}, model)
            try:
                async for _ in exchange:
                    pass
            finally:
                await exchange.aclose(finished=True)

        return ask

    return route


class Leastconn:
    """HAProxy with ``balance leastconn``, which knows of dead servers.

    Args:
        servers: What it stands in front of.
        maxconn: How many requests a server gets at once; the others wait in one queue.
    """

    def __init__(self, servers: Sequence[Server], maxconn: int | None = None) -> None:
        self._living = [server for server in servers if not server.machine.is_dead]
        self._connections = Counter[int]()
        self._last = Counter[int]()
        self._turn = itertools.count(1)
        self._most = maxconn
        self._queue: deque[asyncio.Future[None]] = deque()

    async def ask(self, model: str, question: str) -> None:
        """Ask the server with the fewest connections; equal ones take turns."""
        await asyncio.sleep(_NETWORK)
        while True:
            index = min(
                range(len(self._living)), key=lambda i: (self._connections[i], self._last[i])
            )
            if self._most is None or self._connections[index] < self._most:
                break
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            await turn
        self._connections[index] += 1
        self._last[index] = next(self._turn)
        async for _ in self._living[index].answer(tagged(model), question):
            pass
        self._connections[index] -= 1
        if self._queue:
            self._queue.popleft().set_result(None)


@dataclass(frozen=True)
class Scenario:
    """What is asked of which servers.

    Attributes:
        title: The row's head.
        machines: The servers.
        processes: How many pools there are.
        at_once: How many requests each of them has under way.
        requests: How many there are in all.
        models: Each question goes to one of them, by chance.
        turns: How many questions a conversation has, one after the other.
        warm: True when the models are loaded at the beginning.
    """

    title: str
    machines: tuple[Machine, ...] = (Machine(),) * 4
    processes: int = 1
    at_once: int = 16
    requests: int = 160
    models: tuple[str, ...] = ("a",)
    turns: int = 1
    warm: bool = False


@dataclass
class Outcome:
    """How a scenario went.

    Attributes:
        seconds: Until the last answer, simulated.
        shares: How many requests each server answered.
        loads: How often a model was loaded.
        errors: How many requests failed.
        waits: The seconds of each request.
    """

    seconds: float = 0.0
    shares: list[int] = field(default_factory=list)
    loads: int = 0
    errors: int = 0
    waits: list[float] = field(default_factory=list)


def run(scenario: Scenario, router: str, seed: int = 0, *, spread: bool = True) -> Outcome:
    """Return how *scenario* went with *router*; the same for the same *seed*."""
    with asyncio.Runner(loop_factory=Simulation) as runner:
        return runner.run(_run(scenario, router, seed, spread=spread))


async def _run(scenario: Scenario, router: str, seed: int, *, spread: bool) -> Outcome:
    chance = random.Random(f"{scenario.title} {seed}")
    servers = [
        Server(f"http://host-{number}:11434", machine, chance)
        for number, machine in enumerate(scenario.machines)
    ]
    if scenario.warm:
        for server, model in zip(servers, itertools.cycle(scenario.models), strict=False):
            server.loaded[tagged(model)] = set()
    outcome = Outcome()
    loop = asyncio.get_running_loop()
    haproxy = Leastconn(servers, scenario.machines[0].slots if router == "maxconn" else None)
    async with asyncio.TaskGroup() as group:
        for process in range(scenario.processes):
            start = process if spread else chance.randrange(1000)
            ask: Any = pooled(ROUTERS[router])(servers, start) if router in ROUTERS else haproxy.ask
            share = scenario.requests // scenario.processes // scenario.at_once
            for worker in range(scenario.at_once):
                seeded = random.Random(f"{seed} {process} {worker}")
                group.create_task(_work(scenario, ask, share, seeded, outcome, loop))
    outcome.seconds = loop.time()
    outcome.shares = [server.answered for server in servers]
    outcome.loads = sum(server.loads for server in servers)
    return outcome


async def _work(
    scenario: Scenario,
    ask: Ask,
    share: int,
    chance: random.Random,
    outcome: Outcome,
    loop: asyncio.AbstractEventLoop,
) -> None:
    await asyncio.sleep(chance.uniform(0, 0.05))
    for number in range(share):
        if number % scenario.turns == 0:
            model, question = chance.choice(scenario.models), str(chance.random())
        begin = loop.time()
        try:
            await ask(model, question)
        except OllamaError:
            outcome.errors += 1
        outcome.waits.append(loop.time() - begin)


ROUTERS = {"pool": Hosts, "former": FormerHosts}

SLOW = (Machine(),) * 3 + (Machine(seconds=4.0),)
DEAD = (Machine(is_dead=True),) + (Machine(),) * 3
CHATS = (Machine(prompt=1.0),) * 4
TWO = ("a", "b")
SCENARIOS = [
    *(
        row
        for warm in (False, True)
        for row in (
            Scenario("4 equal hosts", warm=warm),
            Scenario("one 8 times slower", SLOW, warm=warm),
            Scenario("one dead", DEAD, warm=warm),
            Scenario("two models, one fits", models=TWO, warm=warm),
            Scenario("two models, both fit", (Machine(fits=2),) * 4, models=TWO, warm=warm),
            Scenario("chats of 4 turns", CHATS, turns=4, warm=warm),
            Scenario("chats, 8 x 2", CHATS, 8, 2, turns=4, warm=warm, requests=320),
            Scenario("8 x 1", processes=8, at_once=1, warm=warm),
            Scenario("8 x 2", processes=8, at_once=2, warm=warm),
            Scenario("8 x 1, two models", processes=8, at_once=1, models=TWO, warm=warm),
            Scenario("8 x 2, two models", processes=8, at_once=2, models=TWO, warm=warm),
            Scenario("8 x 1, one slow", SLOW, 8, 1, warm=warm),
            Scenario("8 x 2, one slow", SLOW, 8, 2, warm=warm),
            Scenario("8 x 1, one dead", DEAD, 8, 1, warm=warm),
            Scenario("8 x 2, one dead", DEAD, 8, 2, warm=warm),
        )
    )
]


def mean(scenario: Scenario, router: str, seeds: Collection[int], *, spread: bool = True) -> float:
    """Return the mean of the seconds that *scenario* takes with *router*."""
    seconds = [run(scenario, router, seed, spread=spread).seconds for seed in seeds]
    return sum(seconds) / len(seconds)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="means are over these (default: 5)")
    parser.add_argument(
        "--scattered",
        action="store_true",
        help="process ids come from many machines and are not in a row",
    )
    return parser


def main() -> None:
    """Print a table of the seconds each scenario takes."""
    arguments = parser().parse_args()
    routers = ("pool", "former", "leastconn", "maxconn")
    print("| scenario | begins |", " | ".join(routers), "| pool / better of former, leastconn |")
    print("|---|---|" + "---|" * (len(routers) + 1))
    for scenario in SCENARIOS:
        took = [
            mean(scenario, router, range(arguments.seeds), spread=not arguments.scattered)
            for router in routers
        ]
        cells = " | ".join(f"{seconds:.1f}" for seconds in took)
        begins = "warm" if scenario.warm else "cold"
        print(f"| {scenario.title} | {begins} | {cells} | {took[0] / min(took[1:3]):.2f} |")


if __name__ == "__main__":
    main()
