"""Many lines at once: `run` asks them in this process. `timestep.batch.cluster` has Ray ask them."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agents import Agent, ModelProvider

from timestep.batch.answer import Asker, Result
from timestep.batch.lines import BadLine, Defaults, Line, read_value
from timestep.batch.question import BadLineError
from timestep.routing import split_prefix

CONCURRENCY = 16
"""How many lines are under way at once by default."""

_MINUTE = 60.0


@dataclass(slots=True)
class Rate:
    """Delays callers so that requests and tokens stay under a rate a minute.

    Requests begin evenly over the minute. The tokens of an answer are known when it ends, so they are
    paid for afterwards: the next request begins when the debt is paid.

    Args:
        requests: A minute; None for no limit.
        tokens: A minute; None for no limit.
        clock: Counts seconds.
        sleep: Waits for seconds.
    """

    requests: float | None = None
    tokens: float | None = None
    clock: Callable[[], float] = field(default=lambda: asyncio.get_running_loop().time())
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    _next: float = field(default=0.0, init=False)

    async def begin(self) -> None:
        """Wait for the turn of one request."""
        now = self.clock()
        begin = max(now, self._next)
        self._next = begin + (_MINUTE / self.requests if self.requests else 0.0)
        if begin > now:
            await self.sleep(begin - now)

    def used(self, tokens: int) -> None:
        """Pay for the *tokens* of an answer."""
        if self.tokens:
            self._next = max(self._next, self.clock()) + tokens * _MINUTE / self.tokens


def written_prefix(name: str | None) -> str:
    """The prefix that stands in *name*."""
    return split_prefix(name or "")[0] or "openai"


def run(
    lines: Iterable[Line | Mapping[str, Any]],
    provider: ModelProvider,
    *,
    agent: Agent[Any] | None = None,
    concurrency: int = CONCURRENCY,
    retries: int = 3,
    rates: Mapping[str, Rate] | None = None,
    prefix_of: Callable[[str | None], str] = written_prefix,
) -> AsyncGenerator[Result]:
    """The results of *lines*, each as it ends, so in no fixed order.

    Lines are read one by one, as room is made for them. A reader that is slow slows the batch; a
    reader that leaves ends it, and what is under way is cancelled.

    Args:
        lines: Lines as `read_file` gives them, or mappings such as ``{"id": "a", "prompt": "Hi"}``.
        provider: Of the models that the lines name.
        agent: Answers every line instead of a model alone. Its own instructions, tools and output type
            hold, not those of a line.
        concurrency: How many lines are under way at once.
        retries: How often a failure that may pass is tried again.
        rates: Limits by prefix; the one of ``""`` holds for each other prefix.
        prefix_of: Returns the prefix of a model's name, to find its limit. An alias or None counts as
            OpenAI's unless this knows better, as `timestep.batch.concurrency.prefix_of` does.

    Raises:
        BadLineError: A mapping cannot be asked.
        ValueError: *concurrency* is less than 1.
    """
    ask = Asker(provider, agent, retries)
    return ask_all(lines, ask, concurrency=concurrency, rates=rates, prefix_of=prefix_of)


async def ask_all(
    lines: Iterable[Line | Mapping[str, Any]],
    ask: Callable[[Line], Awaitable[Result]],
    *,
    concurrency: int,
    rates: Mapping[str, Rate] | None,
    prefix_of: Callable[[str | None], str],
) -> AsyncGenerator[Result]:
    """What *ask* returns for each of *lines*; the rest is as in `run`."""
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; write 1 or more")
    waiting = _lines(lines)
    limits = dict(rates or {})
    ended: asyncio.Queue[asyncio.Task[Result]] = asyncio.Queue()
    under_way: set[asyncio.Task[Result]] = set()

    def begin() -> None:
        for line in itertools.islice(waiting, concurrency - len(under_way)):
            rate = _rate_of(line, limits, prefix_of) if limits else None
            task = asyncio.create_task(_ask(line, ask, rate))
            task.add_done_callback(ended.put_nowait)
            under_way.add(task)

    try:
        begin()
        while under_way:
            task = await ended.get()
            yield task.result()
            under_way.discard(task)  # not before the reader has it, or a crash repeats more lines
            begin()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _ask(line: Line, ask: Callable[[Line], Awaitable[Result]], rate: Rate | None) -> Result:
    """What *ask* returns for *line*, when its *rate* allows it."""
    if rate is None:
        return await ask(line)
    await rate.begin()
    result = await ask(line)
    rate.used(result.usage.total_tokens)
    return result


def _rate_of(line: Line, limits: dict[str, Rate], prefix_of: Callable[[str | None], str]) -> Rate:
    """Return the rate of the server that *line* goes to; one that is not in *limits* gets its own."""
    prefix = prefix_of(line.question.model)
    if prefix not in limits:
        limits[prefix] = replace(limits.get("", Rate()))
    return limits[prefix]


def _lines(lines: Iterable[Line | Mapping[str, Any]]) -> Iterator[Line]:
    """Yield *lines*; mappings are read as lines of an input."""
    for number, line in enumerate(lines, 1):
        read = line if isinstance(line, Line) else read_value(number, line, Defaults())
        if isinstance(read, BadLine):
            raise BadLineError(f"line {read.number}: {read.reason}")
        yield read
