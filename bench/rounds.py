"""Runs contenders round by round: each in a process of its own, all against one server."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from bench.contenders import BASELINE
from bench.scenarios import Kind, Scenario

_LIMIT = 600.0
"""Seconds one measurement may take; who needs longer is out of the scenario."""
_WARM_UP = 3
_TARGET = 0.25
"""Seconds of CPU one measurement should last, where calls are short."""
_SAMPLES = 100
_PACED = 2
CHEAP = frozenset({BASELINE, "raw_aiohttp", "raw_httpx", "timestep", "timestep_chat"})
"""The contenders that can be asked ten thousand times, or run under valgrind."""


@dataclass
class Results:
    """Everything that was measured.

    Attributes:
        figures: By scenario and contender, the figures of each round.
        errors: By scenario and contender, why there are no figures.
    """

    figures: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict[str, Any])
    errors: dict[str, dict[str, str]] = field(default_factory=dict[str, Any])

    def add(self, scenario: Scenario, contender: str, figures: list[float]) -> None:
        """Keep what one round gave."""
        of_scenario = self.figures.setdefault(scenario.name, {})
        of_scenario.setdefault(contender, []).append(figures)

    def fail(self, scenario: Scenario, contender: str, error: str) -> None:
        """Keep why a contender is out of a scenario."""
        self.errors.setdefault(scenario.name, {})[contender] = error
        self.figures.get(scenario.name, {}).pop(contender, None)

    def is_out(self, scenario: Scenario, contender: str) -> bool:
        """True when the contender failed in the scenario before."""
        return contender in self.errors.get(scenario.name, {})


class MeasurementError(Exception):
    """A worker could not measure, and says why."""


class Worker:
    """One contender's process, started when it is needed and again after it died."""

    def __init__(self, name: str, base_url: str, *, wrapper: Sequence[str] = ()) -> None:
        self.name = name
        self.process: asyncio.subprocess.Process | None = None
        self._command = [*wrapper, sys.executable, "-m", "bench.worker", name, base_url]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process is not None:
            await _end(self.process)
            self.process = None

    async def measure(self, scenario: Scenario, times: int) -> list[float]:
        """The figures of one measurement.

        Raises:
            MeasurementError: The contender failed, died or took too long.
        """
        process = self.process = self.process or await _start(self._command, core=0)
        assert process.stdin is not None
        assert process.stdout is not None
        asked = json.dumps({"scenario": scenario.name, "times": times})
        try:
            process.stdin.write(asked.encode() + b"\n")
            async with asyncio.timeout(_LIMIT):
                line = await process.stdout.readline()
        except TimeoutError:
            await self.__aexit__()
            raise MeasurementError(f"took longer than {_LIMIT:.0f} s") from None
        if not line:
            await self.__aexit__()
            raise MeasurementError("its process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise MeasurementError(answer["error"])
        figures: list[float] = answer["figures"]
        return figures


async def run(scenarios: Sequence[Scenario], contenders: Sequence[str], rounds: int) -> Results:
    """The figures of *rounds* rounds; within a round every contender is measured once."""
    results = Results()
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(server())
        workers = [await stack.enter_async_context(Worker(name, base_url)) for name in contenders]
        for scenario in scenarios:
            present = [w for w in workers if w.name in CHEAP or not scenario.lean]
            await _measure(scenario, present, rounds, results)
    return results


@asynccontextmanager
async def server() -> AsyncGenerator[str]:
    """The URL of a server in a process of its own."""
    process = await _start([sys.executable, "-m", "bench.server"], core=1)
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
    finally:
        await _end(process)


async def _measure(
    scenario: Scenario, workers: Sequence[Worker], rounds: int, results: Results
) -> None:
    times: dict[str, int] = {}
    for worker in workers:
        try:
            times[worker.name] = await _calibrate(worker, scenario)
        except MeasurementError as exc:
            results.fail(scenario, worker.name, str(exc))
    for number in range(min(rounds, scenario.rounds or rounds)):
        _say(f"{scenario.name}: round {number + 1}")
        shift = number % len(workers)
        for worker in [*workers[shift:], *workers[:shift]]:
            if results.is_out(scenario, worker.name):
                continue
            try:
                figures = await worker.measure(scenario, times[worker.name])
            except MeasurementError as exc:
                results.fail(scenario, worker.name, str(exc))
            else:
                results.add(scenario, worker.name, figures)


async def _calibrate(worker: Worker, scenario: Scenario) -> int:
    """Warm *worker* up; how many calls its measurements should make."""
    if scenario.kind is Kind.GROWTH:
        return 1
    cost = (await worker.measure(scenario, 1))[0] * scenario.units
    if scenario.kind is Kind.PARALLEL:
        return 1
    if scenario.kind is Kind.FIRST:
        return _SAMPLES
    if "every" in scenario.ask.model:
        return _PACED
    if cost < _TARGET * 10:  # the first call may have been slow
        cost = (await worker.measure(scenario, _WARM_UP))[0] * scenario.units
    return max(1, min(500, round(_TARGET / cost)))


async def _start(command: Sequence[str], *, core: int) -> asyncio.subprocess.Process:
    """The process of *command*, on a core of its own where there are several."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process.pid, {cores[core % len(cores)]})
    return process


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
