"""A few rows of `bench.pool` with real processes on loopback: ``python -m bench.pool_real``.

The servers are the simulated ones behind real HTTP, in real time. HAProxy is used where it is
installed; nothing is installed here.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from bench.pool import SCENARIOS, Machine, Scenario, Server
from timestep import OllamaModelProvider
from timestep.net.names import tagged

_ROWS = ("8 x 2, two models", "8 x 1, two models", "8 x 1", "8 x 2", "one 8 times slower")

HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    option redispatch
frontend ollama
    bind 127.0.0.1:{port}
    default_backend gpus
backend gpus
    balance leastconn
"""


def serve(port: int, machine: Machine, models: Sequence[str]) -> None:
    """Serve one simulated server until the process ends."""
    server = Server(f"http://127.0.0.1:{port}", machine, random.Random(port))
    for model in models:
        server.loaded[model] = set()

    async def ps(_: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name} for name in server.loaded]})

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        response = web.StreamResponse()
        async for piece in server.answer(tagged(body["model"]), body["messages"][0]["content"]):
            if piece == b"first":
                await response.prepare(request)
            line = {"message": {"content": piece.decode()}, "done": piece == b"rest"}
            await response.write(json.dumps(line).encode() + b"\n")
        return response

    async def count(_: web.Request) -> web.Response:
        return web.json_response(server.answered)

    app = web.Application()
    app.add_routes([web.get("/api/ps", ps), web.post("/api/chat", chat), web.get("/count", count)])
    web.run_app(app, host="127.0.0.1", port=port, print=None)


async def work(urls: Sequence[str], scenario: dict[str, Any], seed: int) -> None:
    """Ask what one process asks, once a line arrives on standard input."""
    provider = OllamaModelProvider(base_url=urls)
    await provider.wire().get("/api/ps")  # imports aiohttp before the clock runs
    print("ready", flush=True)
    sys.stdin.readline()

    async def ask(worker: int) -> None:
        chance = random.Random(f"{seed} {worker}")
        await asyncio.sleep(chance.uniform(0, 0.05))
        for _ in range(scenario["share"]):
            model = chance.choice(scenario["models"])
            messages = [{"role": "user", "content": str(chance.random())}]
            exchange = provider.get_model(model)._source.chat(  # noqa: SLF001 - the pool itself
                {"model": model, "messages": messages}, {}, model
            )
            async for _ in exchange:
                pass
            await exchange.aclose(finished=True)

    await asyncio.gather(*(ask(worker) for worker in range(scenario["at_once"])))
    await provider.aclose()


@contextmanager
def process(*arguments: str, **keywords: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run a command until the block ends."""
    with subprocess.Popen(arguments, text=True, **keywords) as running:
        try:
            yield running
        finally:
            running.terminate()


def free_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _counts(urls: Sequence[str]) -> list[int]:
    async with ClientSession() as session:
        found = []
        for url in urls:
            with contextlib.suppress(OSError):
                async with session.get(f"{url}/count") as answer:
                    found.append(await answer.json())
        return found


def measure(scenario: Scenario, *, haproxy: bool) -> tuple[float, list[int]]:
    """Return the seconds that *scenario* takes, and what each server answered."""
    me = (sys.executable, "-m", "bench.pool_real")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as stack:
        urls = []
        for number, machine in enumerate(scenario.machines):
            port = free_port()
            loaded = scenario.models[number % len(scenario.models)] if scenario.warm else ""
            about = json.dumps([port, vars(machine), [tagged(loaded)] if loaded else []])
            stack.enter_context(process(*me, "--serve", about))
            urls.append(f"http://127.0.0.1:{port}")
            _wait_for(port)
        asked = urls
        if haproxy:
            port = free_port()
            lines = [f"    server gpu-{n} {url[7:]}\n" for n, url in enumerate(urls)]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port) + "".join(lines))
            stack.enter_context(process("haproxy", "-f", str(folder / "haproxy.cfg")))
            _wait_for(port)
            asked = [f"http://127.0.0.1:{port}"]
        share = scenario.requests // scenario.processes // scenario.at_once
        said = {"share": share, "models": scenario.models, "at_once": scenario.at_once}
        workers = [
            stack.enter_context(process(*me, "--work", json.dumps([asked, said, n]), **pipes))
            for n in range(scenario.processes)
        ]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        begun = time.monotonic()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.wait()
        return time.monotonic() - begun, asyncio.run(_counts(urls))


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool_real", description=__doc__)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Print the seconds of each row, with the pool and behind HAProxy."""
    arguments = parser().parse_args()
    if arguments.serve:
        port, machine, models = json.loads(arguments.serve)
        serve(port, Machine(**machine), models)
    elif arguments.work:
        asyncio.run(work(*json.loads(arguments.work)))
    else:
        ways = [False, True] if shutil.which("haproxy") else [False]
        for scenario in [row for row in SCENARIOS if row.title in _ROWS]:
            begins = "warm" if scenario.warm else "cold"
            for haproxy in ways:
                seconds, shares = measure(scenario, haproxy=haproxy)
                way = "haproxy" if haproxy else "pool"
                print(f"{scenario.title:20} {begins} {way:8} {seconds:6.1f} s {shares}", flush=True)


if __name__ == "__main__":
    main()
