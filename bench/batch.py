"""``timestep batch`` beside a bare asyncio loop, over a long input, and killed: ``python -m bench.batch``.

    speed    lines a second and CPU, as ratios to a loop with the same provider in the same run
    memory   the most memory over 1,000 lines and over 100,000
    kills    killed with SIGKILL at random and started again: is each id there once, what was repeated?

The servers are four processes on loopback, which answer after 20 ms. With ``--ray`` two workers ask.
"""

import argparse
import asyncio
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from bench.server import Connection

HOSTS = 4
AT_ONCE = 64
_SECONDS = 0.02
_ID = re.compile(rb"question (\d+)")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%b"
_ANSWER = b'{"model":"m","message":{"role":"assistant","content":"It is a fine day."},"done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":5}\n'
_LOADED = b'{"models":[{"name":"m:latest"}]}'


class Counting(Connection):
    """A connection that notes which question came how often."""

    asked: ClassVar[Counter[int]] = Counter()

    def _respond(self, path: bytes, body: bytes) -> None:
        if path == b"/api/ps":
            self._transport.write(_HEAD % (len(_LOADED), _LOADED))
        elif path == b"/count":
            text = json.dumps(self.asked).encode()
            self._transport.write(_HEAD % (len(text), text))
        else:
            found = _ID.search(body)
            self.asked[int(found[1]) if found else -1] += 1
            answer = _HEAD % (len(_ANSWER), _ANSWER)
            asyncio.get_running_loop().call_later(_SECONDS, self._transport.write, answer)


async def serve() -> None:
    """Print the port, and serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Counting, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def servers() -> Iterator[list[int]]:
    """The ports of the servers; the settings of this folder name them."""
    command = [sys.executable, "-m", "bench.batch", "serve"]
    with ExitStack() as stack:
        ports = []
        for _ in range(HOSTS):
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            process = stack.enter_context(subprocess.Popen(command, **pipes))
            stack.callback(process.terminate)
            assert process.stdout is not None
            ports.append(int(process.stdout.readline()))
        urls = json.dumps([f"http://127.0.0.1:{port}" for port in ports])
        Path("timestep.toml").write_text(f"[ollama]\nbase_url = {urls}\n")
        yield ports


def write_input(path: Path, lines: int) -> None:
    """Write so many short *lines*."""
    with path.open("w") as file:
        file.writelines(
            json.dumps({"id": f"q{at}", "prompt": f"question {at}"}) + "\n" for at in range(lines)
        )


async def bare(source: Path, target: Path) -> None:
    """What a user would write: a loop over the lines, so many at once, a row for each answer."""
    from agents import ItemHelpers, ModelSettings, ModelTracing  # noqa: PLC0415 - not measured

    from timestep import MultiModelProvider  # noqa: PLC0415 - not measured

    provider = MultiModelProvider.from_env()
    with source.open() as lines, target.open("w") as rows:

        async def work() -> None:
            for text in lines:
                line = json.loads(text)
                response = await provider.get_model("ollama/m").get_response(
                    None,
                    line["prompt"],
                    ModelSettings(),
                    [],
                    None,
                    [],
                    ModelTracing.DISABLED,
                    previous_response_id=None,
                    conversation_id=None,
                    prompt=None,
                )
                words = "".join(ItemHelpers.extract_text(item) or "" for item in response.output)
                rows.write(json.dumps({"custom_id": line["id"], "text": words}) + "\n")
                rows.flush()

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def batch_arguments(source: Path, target: Path, *, ray: bool) -> list[str]:
    """The arguments of the command."""
    arguments = ["batch", str(source), str(target), "--model=ollama/m", f"--concurrency={AT_ONCE}"]
    return [*arguments, "--ray"] if ray else arguments


def child(way: str, source: Path, target: Path) -> None:
    """Ask all lines in one *way*, and print what that took in this process."""
    import agents  # noqa: F401, PLC0415 - not measured

    from timestep.cli import main as timestep  # noqa: PLC0415 - not measured

    begun, cpu = time.monotonic(), time.process_time()
    if way == "bare":
        asyncio.run(bare(source, target))
    else:
        with suppress(SystemExit):
            timestep(batch_arguments(source, target, ray=way == "ray"))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([time.monotonic() - begun, time.process_time() - cpu, most / 1024]))


def measured(way: str, lines: int) -> tuple[float, float, float]:
    """Return the seconds, the seconds of CPU and the MB that *lines* take in one *way*."""
    source, target = Path("in.jsonl"), Path("out.jsonl")
    write_input(source, lines)
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.batch", "child", way, str(source), str(target)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert len(target.read_bytes().splitlines()) == lines
    seconds, cpu, megabytes = json.loads(told.splitlines()[-1])
    return seconds, cpu, megabytes


def speed(lines: int, rounds: int, *, ray: bool) -> None:
    """Print both ways, one after the other, and the median of their ratios."""
    way, rates, costs = "ray" if ray else "batch", [], []
    for _ in range(rounds):
        bare_seconds, bare_cpu, _ = measured("bare", lines)
        seconds, cpu, _ = measured(way, lines)
        rates.append(bare_seconds / seconds)
        costs.append(cpu / bare_cpu)
        print(
            f"bare {lines / bare_seconds:7.1f} lines/s {bare_cpu:6.2f} s CPU; "
            f"{way} {lines / seconds:7.1f} lines/s {cpu:6.2f} s CPU",
            flush=True,
        )
    print(f"{lines:,} lines: throughput {median(rates):.2f}, CPU {median(costs):.2f} of the loop's")


def memory(lines: int) -> None:
    """Print the most memory over a short input and over a long one, beside the loop's."""
    for count in (lines // 100, lines):
        loop, batch = measured("bare", count)[2], measured("batch", count)[2]
        print(f"{count:>9,} lines: bare {loop:6.1f} MB; batch {batch:6.1f} MB", flush=True)


def kills(lines: int, times: int, ports: list[int], *, ray: bool) -> None:
    """Kill the command so many *times*, let it end, and print what was repeated."""
    source, target = Path("in.jsonl"), Path("out.jsonl")
    write_input(source, lines)
    target.unlink(missing_ok=True)
    chance = random.Random()
    code = "import sys; from timestep.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *batch_arguments(source, target, ray=ray)]
    for number in range(times):
        goal = chance.randrange(lines * number // times, lines * (number + 1) // times)
        with subprocess.Popen(command) as process:
            while process.poll() is None and _rows(target) < goal:
                time.sleep(0.01)
            process.kill()
        print(f"killed with {_rows(target):,} rows", flush=True)
    subprocess.run(command, check=True)
    found = Counter(json.loads(row)["custom_id"] for row in target.open())
    asked = sum(asyncio.run(_count(port)) for port in ports)
    once = found == Counter(f"q{at}" for at in range(lines))
    print(f"{lines:,} lines, {times} kills: each id once {once}; {asked - lines} calls repeated")


def _rows(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def _count(port: int) -> int:
    from aiohttp import ClientSession  # noqa: PLC0415 - the servers need not wait for it

    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/count") as answer:
        return sum((await answer.json(content_type=None)).values())


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description=__doc__)
    parser.add_argument("what", choices=["speed", "memory", "kills", "serve", "child"])
    parser.add_argument("child", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--lines", type=int, help="default: 10,000; for memory 100,000")
    parser.add_argument("--rounds", type=int, default=3, help="of speed (default: 3)")
    parser.add_argument("--kills", type=int, default=5, help="default: 5")
    parser.add_argument("--ray", action="store_true", help="ask on two workers of Ray")
    return parser


def main() -> None:
    """Measure as the command line says."""
    arguments = parser().parse_args()
    if arguments.what == "serve":
        asyncio.run(serve())
        return
    if arguments.what == "child":
        way, source, target = arguments.child
        child(way, Path(source), Path(target))
        return
    os.environ["PYTHONPATH"] = str(Path.cwd())  # this tree, in the folder of the run too
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with servers() as ports:
            if arguments.what == "speed":
                speed(arguments.lines or 10_000, arguments.rounds, ray=arguments.ray)
            elif arguments.what == "memory":
                memory(arguments.lines or 100_000)
            else:
                kills(arguments.lines or 10_000, arguments.kills, ports, ray=arguments.ray)


if __name__ == "__main__":
    main()
