"""The rows of `bench.pool` with real processes on loopback: ``python -m bench.pool_real``.

The servers are the simulated ones behind real HTTP, in real time, so a round of all rows takes about
three quarters of an hour. HAProxy is used where it is installed. Nothing is installed here.
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
from statistics import fmean
from typing import Any

from aiohttp import ClientSession, web

from bench.pool import SCENARIOS, FormerHosts, Machine, Scenario, Server
from timestep import OllamaModelProvider
from timestep.errors import OllamaError
from timestep.net.model_names import tagged

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
    with contextlib.suppress(OllamaError):  # the first server may be the dead one
        await provider.wire().ask("/api/ps")  # imports aiohttp before the clock runs
    if scenario["is_former"]:
        pool: Any = provider.get_model(scenario["models"][0])._source  # noqa: SLF001 - the pool itself
        pool._hosts = FormerHosts(pool.wires, time.monotonic)  # noqa: SLF001 - not an option
    print("ready", flush=True)
    sys.stdin.readline()

    async def ask(worker: int) -> None:
        chance = random.Random(f"{seed} {worker}")
        await asyncio.sleep(chance.uniform(0, 0.05))
        for number in range(scenario["share"]):
            if number % scenario["turns"] == 0:
                model, question = chance.choice(scenario["models"]), str(chance.random())
            messages = [{"role": "user", "content": question}]
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


def measure(scenario: Scenario, way: str) -> tuple[float, list[int]]:
    """Return the seconds that *scenario* takes in one *way*, and what each living server answered."""
    me = (sys.executable, "-m", "bench.pool_real")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with ExitStack() as stack:
        urls = []
        for number, machine in enumerate(scenario.machines):
            port = free_port()
            loaded = scenario.models[number % len(scenario.models)] if scenario.warm else ""
            about = json.dumps([port, vars(machine), [tagged(loaded)] if loaded else []])
            urls.append(f"http://127.0.0.1:{port}")
            if not machine.is_dead:
                stack.enter_context(process(*me, "--serve", about))
                _wait_for(port)
        asked = urls
        if way == "haproxy":
            port = free_port()
            lines = [f"    server gpu-{n} {url[7:]} check\n" for n, url in enumerate(urls)]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port) + "".join(lines))
            stack.enter_context(process("haproxy", "-f", str(folder / "haproxy.cfg")))
            _wait_for(port)
            asked = [f"http://127.0.0.1:{port}"]
        share = scenario.requests // scenario.processes // scenario.at_once
        said = {
            "share": share,
            "models": scenario.models,
            "at_once": scenario.at_once,
            "turns": scenario.turns,
            "is_former": way == "former",
        }
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
            if worker.wait():
                raise RuntimeError(f"a worker failed: {worker.args!r}")
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
    parser.add_argument("rows", nargs="*", help="titles of rows (default: all)")
    parser.add_argument("--begins", choices=["cold", "warm"], help="only rows that begin so")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each row, in turns")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser


def compare(scenario: Scenario, rounds: int) -> None:
    """Print the mean seconds of each way, and how much longer the pool takes than the best.

    The shares are those of the last round.
    """
    ways = ["pool", "former", *(["haproxy"] if shutil.which("haproxy") else [])]
    runs = [{way: measure(scenario, way) for way in ways} for _ in range(rounds)]
    took = {way: fmean(run[way][0] for run in runs) for way in ways}
    cells = " | ".join(f"{took[way]:.1f} {runs[-1][way][1]}" for way in ways)
    best = min(seconds for way, seconds in took.items() if way != "pool")
    begins = "warm" if scenario.warm else "cold"
    print(f"| {scenario.title} | {begins} | {cells} | {took['pool'] / best:.2f} |", flush=True)


def main() -> None:
    """Print a table of the seconds each row takes."""
    arguments = parser().parse_args()
    if arguments.serve:
        port, machine, models = json.loads(arguments.serve)
        serve(port, Machine(**machine), models)
    elif arguments.work:
        asyncio.run(work(*json.loads(arguments.work)))
    else:
        print("| row | begins | pool | former | HAProxy | pool / better of the others |")
        print("|---|---|---|---|---|---|", flush=True)
        for scenario in SCENARIOS:
            begins = "warm" if scenario.warm else "cold"
            is_asked = not arguments.rows or scenario.title in arguments.rows
            if is_asked and arguments.begins in {None, begins}:
                compare(scenario, arguments.rounds)


if __name__ == "__main__":
    main()
