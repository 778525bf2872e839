"""Where the CPU of a whole call goes, layer by layer: ``python -m bench.layers [--chunks 10]``.

Each row does what the row above it does, and more. All run in one process on one core, in turns. A row's
figure is the lowest of its runs, so that what else the machine does counts least.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import aiohttp

from bench.asks import Ask
from bench.contenders import load
from bench.rounds import server
from timestep import OllamaModelProvider
from timestep.net.connection import Request, Step
from timestep.net.http import Session

CALLS, RUNS = 100, 60
HEADERS = {"accept": "*/*", "content-type": "application/json"}

Call = Callable[[], Awaitable[object]]


def layers(url: str, ask: Ask, session: aiohttp.ClientSession) -> dict[str, Call]:
    """Return a call of each layer, by its title."""
    body = {"model": ask.model, "messages": ask.messages, "stream": True}
    request = Request("POST", f"{url}/api/chat", HEADERS, json.dumps(body).encode())
    connections = Session(url, 5.0)
    wire = OllamaModelProvider(base_url=url).wire()
    bare, ours = load("ollama_client").connect(url), load("timestep").connect(url)

    def no_guard(_: Step) -> None:
        pass

    async def document() -> None:
        async with session.post(request.url, json={**body, "stream": False}) as answer:
            json.loads(await answer.read())

    async def our_session() -> None:
        answer = await connections.send(request, no_guard)
        async for _ in answer.body:
            pass
        await answer.aclose()

    async def our_wire() -> None:
        exchange = wire.chat(body, {}, ask.model)
        async for _ in exchange:
            pass
        await exchange.aclose(finished=True)

    return {
        "aiohttp + json": document,
        "our session": our_session,
        "our wire": our_wire,
        "timestep, whole": lambda: ours.whole(ask),
        "the bare client": lambda: bare.whole(ask),
    }


async def measure(ask: Ask) -> None:
    """Print the microseconds of each layer."""
    async with server() as url, aiohttp.ClientSession() as session:
        calls, lowest = layers(url, ask, session), dict[str, float]()
        for _ in range(RUNS):
            for title, call in calls.items():
                await call()
                begun = time.process_time()
                for _ in range(CALLS):
                    await call()
                spent = (time.process_time() - begun) / CALLS
                lowest[title] = min(lowest.get(title, spent), spent)
    for title, spent in lowest.items():
        print(f"| {title} | {spent * 1e6:.0f} |")


def main() -> None:
    """Measure whole calls of so many chunks."""
    parser = argparse.ArgumentParser(prog="python -m bench.layers", description=__doc__)
    parser.add_argument("--chunks", type=int, default=10, help="chunks of an answer (default: 10)")
    asyncio.run(measure(Ask(f"text-{parser.parse_args().chunks}")))


if __name__ == "__main__":
    main()
