"""One contender in a process of its own: ``python -m bench.worker CONTENDER URL``.

It reads a line of JSON per measurement, ``{"scenario": NAME, "times": N}``, and answers each with a
line of JSON, ``{"figures": [...]}`` or ``{"error": TEXT}``.
"""

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.answers import shown
from bench.contenders import Client, load
from bench.scenarios import Kind, Scenario, named

_PAGE = resource.getpagesize()


class WrongAnswerError(Exception):
    """A contender lost or changed a part of the answer."""


async def measure(client: Client, scenario: Scenario, times: int) -> list[float]:
    """What *scenario* costs *client*: one figure per unit, or several where they are samples."""
    match scenario.kind:
        case Kind.STREAM:
            return await _cpu(lambda: _read(client, scenario), scenario, times)
        case Kind.WHOLE:
            return await _cpu(lambda: _ask(client, scenario), scenario, times)
        case Kind.AGENT:
            return await _cpu(lambda: _run(client, scenario), scenario, times)
        case Kind.FIRST:
            return sorted([await _first(client, scenario) for _ in range(times)])
        case Kind.PARALLEL:
            return [await _together(client, scenario)]
        case Kind.GROWTH:
            return [await _growth(client, scenario)]


async def _cpu(call: Callable[[], Awaitable[None]], scenario: Scenario, times: int) -> list[float]:
    gc.collect()
    begun = time.process_time()
    for _ in range(times):
        await call()
    return [(time.process_time() - begun) / times / scenario.units]


async def _read(client: Client, scenario: Scenario) -> None:
    pieces = [piece async for piece in client.stream(scenario.ask)]
    _check("".join(pieces), shown(scenario.ask.model))


async def _ask(client: Client, scenario: Scenario) -> None:
    _check(await client.whole(scenario.ask), shown(scenario.ask.model))


async def _run(client: Client, scenario: Scenario) -> None:
    turns = scenario.units
    _check(await client.agent(scenario.ask, turns), shown(scenario.ask.model, turns))


async def _first(client: Client, scenario: Scenario) -> float:
    first = 0.0
    begun = time.perf_counter()
    async for _ in client.stream(scenario.ask):
        first = first or time.perf_counter() - begun
    return first


async def _together(client: Client, scenario: Scenario) -> float:
    gc.collect()
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(scenario.parallel):
            group.create_task(_read(client, scenario))
    return time.perf_counter() - begun


async def _growth(client: Client, scenario: Scenario) -> float:
    """Bytes that the last nine tenths of the calls leave behind."""
    tenth = scenario.parallel // 10
    before = 0
    for number in range(scenario.parallel):
        if number == tenth:
            before = _resident()
        await (_read(client, scenario) if number % 2 else _ask(client, scenario))
    return float(_resident() - before)


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _check(seen: str, expected: str) -> None:
    if seen != expected:
        raise WrongAnswerError(f"saw {seen[:60]!r} instead of {expected[:60]!r}")


def _serve(name: str, base_url: str) -> None:
    client = load(name).connect(base_url)
    output = os.fdopen(os.dup(1), "w")  # whatever a contender prints must not reach the answers
    os.dup2(2, 1)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            asked = json.loads(line)
            (scenario,) = named([asked["scenario"]])
            try:
                figures = runner.run(measure(client, scenario, asked["times"]))
                answer: dict[str, object] = {"figures": figures}
            except Exception as exc:  # noqa: BLE001 - a peer may fail in any way; the report says so
                answer = {"error": f"{type(exc).__name__}: {exc}"[:300]}
            print(json.dumps(answer), file=output, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
