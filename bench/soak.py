"""Run many agents for a long time against a server that fails, and count what becomes of them.

    python -m bench.soak [--seconds 600] [--agents 256] [--runs 200000] [--faults 0.15] [--seed 1]

The server is a process of its own on loopback. Every agent calls two tools at once, then answers
with a word of its own; every third run is streamed, every seventh is cancelled on its way, every
other agent retries. The script ends after so many seconds or runs, whichever comes first, with 1
when a failure was of no expected class, an answer was another's, a tool ran twice for one call, or
sockets, tasks or memory are left over.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import random
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    ModelBehaviorError,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    Runner,
    function_tool,
    retry_policies,
)
from agents.tool_context import ToolContext

from timestep import (
    OllamaConnectionError,
    OllamaModelProvider,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
)
from timestep.testing import (
    Close,
    ErrorLine,
    FakeOllama,
    NoDone,
    Reply,
    Request,
    Reset,
    Split,
    Stall,
)
from timestep.testing.answers import Answer, StatusAnswer

EXPECTED = (
    OllamaConnectionError,
    OllamaStatusError,  # 429, 503, and 500 for an error before the first line
    OllamaStreamError,
    OllamaTimeoutError,
    ModelBehaviorError,  # the SDK's own, for a stream that breaks off after it was shown
)
GROWTH = 48 * 2**20
"""Bytes by which the process may have grown between its tenth and its last minute's runs."""


def serve(rate: float, seed: int) -> None:
    """Answer until standard input ends."""
    dice = random.Random(seed)

    def answer(request: Request) -> Answer:
        messages = request.json["messages"]
        asked = next(m["content"] for m in messages if m["role"] == "user")
        if messages[-1]["role"] == "tool":
            reply: dict[str, Any] = {"text": f"the word is {asked} indeed"}
        else:
            calls = [("look_up", {"word": asked, "part": part}) for part in (1, 2)]
            reply = {"thinking": "Let me see.", "tool_calls": calls}
        if dice.random() >= rate:
            return Reply(**reply)
        if dice.random() < 0.3:
            busy = {"Retry-After": "0.05"}
            return StatusAnswer(*dice.choice([(503, "server busy", busy), (429, "too fast", busy)]))
        after = dice.randrange(4)
        faults = [ErrorLine("runner died", after=after), NoDone(), Reset(after=after)]
        faults += [Close(after=after), Stall(after), Split(every=3)]
        return Reply(**reply, faults=[dice.choice(faults)])

    with contextlib.suppress(Exception), FakeOllama() as fake:
        fake.reply(answer, times=None)
        print(fake.url, flush=True)
        while sys.stdin.readline():
            fake.requests.clear()
            fake.disconnects.clear()


class Soak:
    """The agents, and what became of their runs."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self.provider = OllamaModelProvider(base_url=url, timeout={"first_byte": 1.0, "idle": 0.5})
        self.config = RunConfig(model_provider=self.provider, tracing_disabled=True)
        self.outcomes: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.options = options
        self.runs = 0
        self.end = time.monotonic() + options.seconds

    def note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count what asyncio complains about, but for errors that the SDK's tasks keep."""
        if not isinstance(context.get("exception"), EXPECTED):
            self.wrong[f"asyncio: {context['message']}"] += 1

    async def agent(self, number: int) -> None:
        """Run one agent again and again."""
        dice = random.Random(self.options.seed * 1_000_003 + number)
        while time.monotonic() < self.end and self.runs < self.options.runs:
            self.runs += 1
            await self.run(f"w{number}x{self.runs}", number, dice)

    async def run(self, word: str, number: int, dice: random.Random) -> None:
        """One run, counted by how it ends."""
        ran: list[str] = []

        @function_tool
        def look_up(context: ToolContext[Any], word: str, part: int) -> str:
            """Look a word up."""
            ran.append(context.tool_call_id)
            return f"{word} {part}"

        retry = ModelRetrySettings(max_retries=2, policy=retry_policies.provider_suggested())
        settings = ModelSettings(retry=retry if number % 2 else None)
        agent = Agent("a", model="m", tools=[look_up], model_settings=settings)
        task = asyncio.create_task(self.ask(agent, word, is_streamed=self.runs % 3 == 0))
        if self.runs % 7 == 0:
            asyncio.get_running_loop().call_later(dice.random() * 0.2, task.cancel)
        try:
            answer = await task
        except asyncio.CancelledError:
            self.outcomes["cancelled"] += 1
        except EXPECTED as exc:
            self.outcomes[type(exc).__name__] += 1
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is counted
            self.wrong[f"{type(exc).__name__}: {exc}"[:200]] += 1
        else:
            self.outcomes["answered"] += 1
            if answer != f"the word is {word} indeed":
                self.wrong["another's answer"] += 1
            if len(ran) != 2:
                self.wrong[f"{len(ran)} of 2 calls were run"] += 1
        if len(ran) != len(set(ran)):
            self.wrong["a call was run twice"] += 1

    async def ask(self, agent: Agent, word: str, *, is_streamed: bool) -> Any:
        """The answer to *word*."""
        if not is_streamed:
            return (await Runner.run(agent, word, run_config=self.config)).final_output
        result = Runner.run_streamed(agent, word, run_config=self.config)
        try:
            async for _ in result.stream_events():
                pass
        finally:
            result.cancel()
        return result.final_output


def left() -> tuple[int, int, int]:
    """Open sockets, tasks and resident bytes."""
    gc.collect()
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            targets.append(str(descriptor.readlink()))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sockets = sum(target.startswith("socket:") for target in targets)
    return sockets, len(asyncio.all_tasks()), pages * resource.getpagesize()


async def soak(url: str, options: argparse.Namespace, tick: Any) -> bool:
    """Run all agents; True when everything was as it has to be."""
    begun = left()
    work = Soak(url, options)
    asyncio.get_running_loop().set_exception_handler(work.note)
    warm: tuple[int, int, int] | None = None
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        agents = [group.create_task(work.agent(number)) for number in range(options.agents)]
        while not all(agent.done() for agent in agents):
            await asyncio.wait(agents, timeout=1.0, return_when=asyncio.ALL_COMPLETED)
            tick()
            if warm is None and time.monotonic() - started > options.seconds / 10:
                warm = left()
    await work.provider.aclose()
    await asyncio.sleep(1.0)
    ended = left()
    seconds = time.monotonic() - started
    print(f"{work.runs} runs of {options.agents} agents in {seconds:.0f} s")
    for name, count in work.outcomes.most_common():
        print(f"  {count:>8}  {name}")
    for name, count in work.wrong.most_common(20):
        print(f"  {count:>8}  WRONG: {name}")
    rows = [("at the start", begun), ("after a tenth", warm or ended), ("at the end", ended)]
    for when, (sockets, tasks, memory) in rows:
        print(f"{when:>15}: {sockets} sockets, {tasks} tasks, {memory / 2**20:.0f} MB")
    grown = ended[2] - (warm or ended)[2]
    return not work.wrong and ended[:2] == begun[:2] and grown < GROWTH


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--agents", type=int, default=256)
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--faults", type=float, default=0.15, help="how many answers break")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Run the command line."""
    options = parser().parse_args()
    if options.serve:
        serve(options.faults, options.seed)
        return
    command = [sys.executable, "-m", "bench.soak", "--serve", "--faults", str(options.faults)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        stdin = server.stdin
        url = server.stdout.readline().strip()

        def tick() -> None:
            stdin.write("\n")
            stdin.flush()

        # The SDK's coroutines, when a run is cancelled before its first step.
        never_awaited = "coroutine .* was never awaited"
        warnings.filterwarnings("ignore", message=never_awaited)  # the SDK's, see above
        is_well = asyncio.run(soak(url, options, tick))
        stdin.close()
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
