"""Measure the record of runs: its load and its price.

    python -m bench.traces [--traces 10000] [--runs 200]

Writes a store of many runs and times what people do with it; then runs agents against a test
server with and without recording, each in a process of its own, and compares their CPU time:
once against a server that answers at once, and once against one with the pace of a model.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agents import Agent, RunConfig, Runner, function_tool, set_trace_processors

from timestep.ollama.provider import OllamaModelProvider
from timestep.testing import FakeOllama, Reply, Request
from timestep.traces import Filter, TraceStore, install, uninstall
from timestep.traces.records import Event, SpanEnded, SpanStarted, TraceEnded, TraceStarted

SPANS = 20
WORDS = ("the", "weather", "in", "Oslo", "is", "sunny", "and", "market", "opened", "higher", "than")
ANSWER = "It is sunny in Oslo, with a light wind from the west and no clouds at all. " * 12


def one_run(number: int) -> list[Event]:
    """The events of one run of 20 spans."""
    trace, at = f"trace_{number:032x}", 1_700_000_000 + number * 10.0
    events = [TraceStarted(trace, f"run {number % 50}", None, None, at)]
    agent = f"a{number}"
    events.append(SpanStarted(agent, trace, None, "agent", f"agent {number % 7}", at))
    for step in range(SPANS - 1):
        span, is_call = f"s{number}-{step}", step % 2 == 0
        kind, name = ("generation", f"m{number % 5}") if is_call else ("function", "get_weather")
        text = " ".join(WORDS[(number + step + i) % len(WORDS)] for i in range(40))
        data = json.dumps({"type": kind, "output": [{"role": "assistant", "content": text}]})
        events.append(SpanStarted(span, trace, agent, kind, name, at + step))
        end = SpanEnded(span, trace, kind, name, at + step + 0.5, None, data, text=text)
        if is_call:
            end = end._replace(
                model=name,
                input_tokens=100,
                output_tokens=20,
                output_seconds=0.4,
                total_seconds=0.5,
            )
        if number == 77 and step == 3:
            end = end._replace(text=f"{text} needle")
        events.append(end)
    events += [
        SpanEnded(agent, trace, "agent", "x", at + 30, None, "{}"),
        TraceEnded(trace, at + 31),
    ]
    return events


def timed(what: str, call: Callable[[], object]) -> None:
    """Run *call* five times; print the median."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    size = f"{len(result)} results" if isinstance(result, list) else ""
    print(f"  {what:<34} {statistics.median(seconds) * 1000:8.1f} ms   {size}")


def measure_load(directory: Path, count: int) -> None:
    """Fill a store with *count* runs, and time what people do with it."""
    store = TraceStore(directory / "load.db")
    start = time.perf_counter()
    for first in range(0, count, 500):
        store.write(
            [event for number in range(first, min(first + 500, count)) for event in one_run(number)]
        )
    seconds = time.perf_counter() - start
    size = store.path.stat().st_size / 2**20
    print(f"{count} runs of {SPANS} spans: written in {seconds:.1f} s, {size:.0f} MiB")
    timed("list the newest 50", store.traces)
    timed("list 50 of a model", lambda: store.traces(Filter(model="m3")))
    timed("list 50 with a word", lambda: store.traces(Filter(text="sunny")))
    timed("list failed ones (0 found)", lambda: store.traces(Filter(failed=True)))
    timed("search a word that is everywhere", lambda: store.search("market"))
    timed("search a word that is once", lambda: store.search("needle"))
    timed("open one", lambda: store.get(f"trace_{count // 2:032x}"))
    timed("find one by its beginning", lambda: [store.find(f"{count // 2:032x}"[:32])])
    timed("statistics of all models", store.stats)
    timed("values for filters", lambda: [store.values()])
    store.close()


def run_agents(url: str, runs: int, path: str) -> None:
    """Run agents, by turns recorded in *path* and not; print the CPU seconds of a run of each."""

    @function_tool
    def get_weather(city: str) -> str:
        """The weather."""
        return f"{city}: sunny"

    async def go(model: str, count: int) -> float:
        start = time.process_time()
        provider = OllamaModelProvider(base_url=url)
        try:
            agent = Agent(
                name="a", model=model, tools=[get_weather], instructions="Be brief. " * 50
            )
            config = RunConfig(model_provider=provider)

            async def run() -> None:
                await Runner.run(agent, "The weather?", run_config=config)

            if model == INSTANT:
                for _ in range(count):
                    await run()
            else:  # they mostly wait
                await asyncio.gather(*(run() for _ in range(count)))
        finally:
            await provider.aclose()
        return time.process_time() - start

    set_trace_processors([])
    asyncio.run(go(INSTANT, 10))

    def recorded(model: str, count: int) -> float:
        install(path)
        running = asyncio.run(go(model, count))
        start = time.process_time()
        uninstall()
        return running + time.process_time() - start

    spent: dict[str, list[float]] = {}
    for model, count in ((INSTANT, max(runs // 4, 1)), (PACED, min(runs, 30))):
        pairs: list[tuple[float, float]] = []
        for number in range(ROUNDS[model]):
            if number % 2:  # by turns the first, so that a machine that slows down favours neither
                pairs.append((asyncio.run(go(model, count)), recorded(model, count)))
            else:
                more = recorded(model, count)
                pairs.append((asyncio.run(go(model, count)), more))
        bare = statistics.median(each for each, _ in pairs)
        # Neighbours are compared: over minutes a machine varies more than recording costs.
        ratios = [more / each - 1 for each, more in pairs]
        spent[model] = [bare / count, *statistics.quantiles(ratios, n=4)]
    print(json.dumps(spent))


INSTANT, PACED = "instant", "paced"
ROUNDS = {INSTANT: 40, PACED: 9}
CHUNKS, INTERVAL = 300, 0.01
"""Of an answer with a pace: 100 tokens a second, which is quick for a model at home."""


def answer(request: Request) -> Reply:
    """A call first, then text."""
    is_paced = request.json["model"] == PACED
    if request.json["messages"][-1]["role"] != "tool":
        return Reply(
            "", tool_calls=[("get_weather", {"city": "Oslo"})], thinking="Let me look. " * 20
        )
    if is_paced:
        return Reply(pieces=[" word"] * CHUNKS, interval=INTERVAL)
    return Reply(ANSWER)


def measure_price(directory: Path, runs: int) -> None:
    """CPU seconds of the same runs with and without recording."""
    with FakeOllama(strict=False) as fake:
        fake.reply(answer, times=None)
        path = str(directory / "price")
        child = [sys.executable, "-m", "bench.traces", "--child", fake.url, str(runs), path]
        done = subprocess.run(child, capture_output=True, text=True, check=True)
    spent = json.loads(done.stdout)
    print("CPU of a run of 2 model calls and 1 tool call, medians of neighbouring rounds:")
    for model, what in (
        (INSTANT, "a server that answers at once"),
        (PACED, f"an answer of {CHUNKS} chunks, {INTERVAL * 1000:.0f} ms each"),
    ):
        bare, low, ratio, high = spent[model]
        print(
            f"  {what:<34} {bare * 1000:6.2f} ms bare, {bare * ratio * 1000:+.2f} ms recorded: "
            f"{ratio:+.1%} (half of the rounds {low:+.1%} to {high:+.1%})",
            end="",
        )
        seconds = CHUNKS * INTERVAL
        print(f", {bare * ratio / seconds:.2%} of its {seconds:g} s" if model == PACED else "")


def main() -> None:
    """Measure both, or be the child of the second measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        url, runs, path = options.child
        run_agents(url, int(runs), path)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        measure_load(Path(name), options.traces)
        measure_price(Path(name), options.runs)


if __name__ == "__main__":
    main()
