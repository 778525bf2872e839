"""Where the CPU of a whole call goes, layer by layer: ``python -m bench.layers [--chunks 10]``.

Each row does what the row above it does, and more. All run in one process on one core, in turns. A row's
figure is the lowest of its runs, so that what else the machine does counts least.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import ollama

from bench.asks import Ask
from bench.contenders.ollama_client import BareClient
from bench.contenders.sdk import SdkClient
from bench.rounds import server
from timestep import OllamaModelProvider
from timestep.net.connection import Request, Step
from timestep.net.http import Session

HEADERS = {"accept": "*/*", "content-type": "application/json"}

Call = Callable[[], Awaitable[object]]


def layers(url: str, ask: Ask, stack: AsyncExitStack) -> dict[str, Call]:
    """Return a call of each layer, by its title. *stack* closes what they open."""
    body = {"model": ask.model, "messages": ask.messages, "stream": True}
    request = Request("POST", f"{url}/api/chat", HEADERS, json.dumps(body).encode())
    session, connections = aiohttp.ClientSession(), Session(url, 5.0)
    provider, client = OllamaModelProvider(base_url=url), ollama.AsyncClient(url)
    wire, ours, bare = provider.wire(), SdkClient(provider.get_model), BareClient(client)
    for each in (session.close, connections.aclose, provider.aclose, client.close):
        stack.push_async_callback(each)

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


async def measure(ask: Ask, *, runs: int = 60, calls: int = 100) -> dict[str, float]:
    """Return the CPU seconds of a call of each layer: the lowest of *runs* runs of *calls* calls."""
    lowest: dict[str, float] = {}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(server())
        of_layers = layers(url, ask, stack)
        for _ in range(runs):
            for title, call in of_layers.items():
                await call()
                begun = time.process_time()
                for _ in range(calls):
                    await call()
                spent = (time.process_time() - begun) / calls
                lowest[title] = min(lowest.get(title, spent), spent)
    return lowest


def main() -> None:
    """Print the microseconds of each layer."""
    parser = argparse.ArgumentParser(prog="python -m bench.layers", description=__doc__)
    parser.add_argument("--chunks", type=int, default=10, help="chunks of an answer (default: 10)")
    for title, spent in asyncio.run(measure(Ask(f"text-{parser.parse_args().chunks}"))).items():
        print(f"| {title} | {spent * 1e6:.0f} |")


if __name__ == "__main__":
    main()
