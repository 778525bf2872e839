"""Measure answers that no model gives: is their price in time and memory bounded?

    python -m bench.extremes [--chunks 1000000] [--megabytes 6] [--image 20] [--parts 400000]

A test server in a process of its own sends a million chunks, one line of 6 MB, and an image of 20 MB
over the Responses API; the SDK's Runner reads them, whole and streamed. Each is done in a new process, whose peak is its own. The
longest hold is the most CPU time between two turns of the event loop.

Then readers get what no model sends, once and twice as much of it. The ratio of the CPU time is 2
where work is linear, and about 1 where a limit ends it.
"""

import argparse
import asyncio
import gc
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from agents import Agent, ModelProvider, RunConfig, Runner

from timestep.net.origin import Origin
from timestep.ollama.lines import ChatLines
from timestep.ollama.provider import OllamaModelProvider
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.openai.stream import ChatReader
from timestep.testing import FakeOllama, FakeOpenAI, Reply

CASES = ("nothing", "chunks", "line", "image")


def _response(kind: str, result: str, way: str) -> tuple[bytes, str]:
    """An answer of the Responses API whose only output is *result*, and its content type."""
    text = {"type": "output_text", "text": "ok", "annotations": []}
    said = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
    image = {"id": "i", "type": "image_generation_call", "status": "completed", "result": result}
    output = [{**said, "content": [text]}, *([image] if kind == "image" else [])]
    response = {"id": "r", "object": "response", "created_at": 1, "model": kind, "output": output}
    response |= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}
    if way == "whole":
        return json.dumps(response).encode(), "application/json"
    event = {"type": "response.completed", "sequence_number": 0, "response": response}
    return b"data: " + json.dumps(event).encode() + b"\n\n", "text/event-stream"


def serve(chunks: int, megabytes: int, image: int) -> None:
    """Answer by the name of the model, until standard input ends."""
    with FakeOllama(strict=False) as fake, FakeOpenAI(strict=False) as openai:
        for kind, way in itertools.product(("nothing", "image"), ("whole", "streamed")):
            body, content_type = _response(kind, "QUJD" * (image * 250_000), way)
            headers = {"Content-Type": content_type}
            openai.fail(200, body=body, headers=headers, model=f"{kind}-{way}", times=None)
        fake.reply("ok", model="nothing", times=None)
        many = lambda _: Reply(pieces=itertools.repeat("ab ", chunks))  # noqa: E731 - read once each
        fake.reply(many, model="chunks", times=None)
        fake.reply(pieces=["x" * megabytes * 1_000_000], model="line", times=None)
        print(fake.url, openai.base_url, flush=True)
        sys.stdin.read()


def read(urls: str, case: str, way: str) -> None:
    """Have one answer read in this process; print what it took."""
    ollama, openai = urls.split()

    async def run(model: str) -> int:
        provider: ModelProvider = OllamaModelProvider(base_url=ollama)
        if case == "image":
            provider = OpenAICompatibleProvider(OpenAIEndpoint(openai), use_responses=True)
            model = f"{model}-{way}"
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        agent = Agent(name="a", model=model)
        if way == "whole":
            return len((await Runner.run(agent, "hi", run_config=config)).final_output)
        result = Runner.run_streamed(agent, "hi", run_config=config)
        async for _ in result.stream_events():
            pass
        return len(result.final_output)

    async def watched() -> tuple[int, float]:
        """The length of the answer, and the longest hold in seconds."""
        turns: list[float] = []

        def turn() -> None:
            now = time.thread_time()
            turns[:] = [max(turns[0], now - turns[1]), now] if turns else [0.0, now]
            loop.call_soon(turn)

        loop = asyncio.get_running_loop()
        await run("nothing")
        gc.freeze()  # what the application has imported is not part of it
        turn()
        return await run(case), turns[0]

    start, cpu = time.perf_counter(), time.process_time()
    length, held = asyncio.run(watched())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{case:<8} {way:<9} {length:>10,} characters {time.perf_counter() - start:7.1f} s "
        f"{time.process_time() - cpu:7.1f} s CPU {peak:6.0f} MiB at most "
        f"{held * 1000:5.0f} ms held"
    )


def _attacks() -> dict[str, tuple[Callable[[bytes], object], Callable[[int], bytes]]]:
    """What a reader gets, and how *n* parts of it are made."""
    origin = Origin("m", "http://h")

    def pieces(reader: ChatLines | ChatReader, body: bytes) -> None:
        for at in range(0, len(body), 16_384):
            reader.feed(body[at : at + 16_384])
        reader.end_of_body()

    def lines(body: bytes) -> None:
        pieces(ChatLines(origin), body)

    def events(body: bytes) -> None:
        pieces(ChatReader(origin), body)

    call = b'{"function":{"name":"f"}}'
    delta = b'data: {"choices":[{"delta":{"tool_calls":[{"index":%d,"function":{"arguments":"{"}}]}}]}\n\n'
    return {
        "text in one line": (
            lines,
            lambda n: b'{"message":{"content":"' + b"\\u00e9" * n + b'"}}\n',
        ),
        "text in one event": (
            events,
            lambda n: b'data: {"choices":[{"delta":{"content":"' + b"\\u00e9" * n + b'"}}]}\n\n',
        ),
        "a line without an end": (lines, lambda n: b"x" * 100 * n),
        "an event without an end": (events, lambda n: b"data: " + b"x" * 100 * n),
        "empty lines": (lines, lambda n: b"\n" * n),
        "lines without content": (lines, lambda n: b'{"message":{}}\n' * (n // 10)),
        "calls in one line": (
            lines,
            lambda n: b'{"message":{"tool_calls":[' + b",".join([call] * n) + b"]}}\n",
        ),
        "values in one line": (lines, lambda n: b"[" + b"{}," * n + b"1]\n"),
        "comments": (events, lambda n: b":\n" * n),
        "data without an end": (events, lambda n: b"data: 1\n" * n),
        "pieces of one call": (events, lambda n: (delta % 0) * (n // 10)),
        "calls in pieces": (events, lambda n: b"".join(delta % at for at in range(n // 10))),
    }


def attack(parts: int) -> None:
    """Print what *parts* of every attack cost, and the ratio for twice as many."""
    print(f"{'attack':<24}{'bytes':>14}{'CPU':>10}{'per MB':>10}{'ratio for twice as much':>28}")
    for name, (read_all, body_of) in _attacks().items():
        costs: list[float] = []
        for count in (parts, 2 * parts):
            body = body_of(count)
            start = time.process_time()
            read_all(body)
            costs.append(time.process_time() - start)
        print(
            f"{name:<24}{len(body_of(parts)):>14,}{costs[0] * 1000:>7.0f} ms"
            f"{costs[0] * 1e9 / len(body_of(parts)):>7.1f} ms"
            f"{costs[1] / max(costs[0], 1e-9):>28.1f}"
        )


def main() -> None:
    """Serve, read, or start the processes that do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--megabytes", type=int, default=6)
    parser.add_argument("--image", type=int, default=20)
    parser.add_argument("--parts", type=int, default=400_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.chunks, options.megabytes, options.image)
        return
    if options.read:
        read(*options.read)
        return
    sizes = [f"--{name}={vars(options)[name]}" for name in ("chunks", "megabytes", "image")]
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
    attack(options.parts)


if __name__ == "__main__":
    main()
