"""Measure answers that no model gives: is their price in time and memory bounded?

    python -m bench.extremes [--chunks 1000000] [--megabytes 50]

A test server in a process of its own sends a million chunks, and one line of 50 MB; the SDK's
Runner reads them, whole and streamed. Each is done in a new process, whose peak is its own.
"""

import argparse
import asyncio
import itertools
import resource
import subprocess
import sys
import time

from agents import Agent, RunConfig, Runner

from timestep.ollama.provider import OllamaModelProvider
from timestep.testing import FakeOllama, Reply

CASES = ("nothing", "chunks", "line")


def serve(chunks: int, megabytes: int) -> None:
    """Answer by the name of the model, until standard input ends."""
    with FakeOllama(strict=False) as fake:
        fake.reply("ok", model="nothing", times=None)
        many = lambda _: Reply(pieces=itertools.repeat("ab ", chunks))  # noqa: E731 - read once each
        fake.reply(many, model="chunks", times=None)
        fake.reply(pieces=["x" * megabytes * 1_000_000], model="line", times=None)
        print(fake.url, flush=True)
        sys.stdin.read()


def read(url: str, case: str, way: str) -> None:
    """Have one answer read in this process; print what it took."""

    async def run() -> int:
        config = RunConfig(model_provider=OllamaModelProvider(base_url=url), tracing_disabled=True)
        agent = Agent(name="a", model=case)
        if way == "whole":
            return len((await Runner.run(agent, "hi", run_config=config)).final_output)
        result = Runner.run_streamed(agent, "hi", run_config=config)
        async for _ in result.stream_events():
            pass
        return len(result.final_output)

    start, cpu = time.perf_counter(), time.process_time()
    length = asyncio.run(run())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{case:<8} {way:<9} {length:>10,} characters {time.perf_counter() - start:7.1f} s "
        f"{time.process_time() - cpu:7.1f} s CPU {peak:6.0f} MiB at most"
    )


def main() -> None:
    """Serve, read, or start the processes that do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.chunks, options.megabytes)
        return
    if options.read:
        read(*options.read)
        return
    sizes = ["--chunks", str(options.chunks), "--megabytes", str(options.megabytes)]
    this = [sys.executable, "-m", "bench.extremes", *sizes]
    with subprocess.Popen(
        [*this, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        for case in CASES:
            for way in ("whole", "streamed"):
                subprocess.run([*this, "--read", url, case, way], check=True)
        server.communicate()


if __name__ == "__main__":
    main()
