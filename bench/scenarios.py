"""What is measured."""

from dataclasses import dataclass
from enum import Enum

from bench.asks import Ask


class Kind(Enum):
    """How a scenario is run and what it yields.

    Attributes:
        STREAM: CPU seconds of a streamed call.
        WHOLE: CPU seconds of a whole call.
        AGENT: CPU seconds of an agent's run.
        FIRST: Seconds from the call to its first text, sorted.
        PARALLEL: Seconds until all of many paced streams have ended.
        GROWTH: Bytes of memory that many calls leave behind.
    """

    STREAM = "stream"
    WHOLE = "whole"
    AGENT = "agent"
    FIRST = "first"
    PARALLEL = "parallel"
    GROWTH = "growth"


@dataclass(frozen=True)
class Scenario:
    """One row of the report.

    Attributes:
        name: For the command line.
        title: For people.
        kind: How it is run.
        ask: What is asked.
        units: How many units one run has; CPU is reported per unit.
        unit: What is counted.
        parallel: How many streams run at once, or calls are made.
        ideal: Seconds the server's own pace takes.
        rounds: How many rounds at most; None for as many as asked for.
        lean: True when only contenders that are cheap enough take part.
    """

    name: str
    title: str
    kind: Kind
    ask: Ask
    units: int = 1
    unit: str = "call"
    parallel: int = 1
    ideal: float = 0.0
    rounds: int | None = None
    lean: bool = False


def _parallel(streams: int) -> Scenario:
    return Scenario(
        f"parallel-{streams}",
        f"{streams} streams at once, 40 chunks/s each",
        Kind.PARALLEL,
        Ask("text-40-every-25ms"),
        parallel=streams,
        ideal=40 * 0.025,  # forty pieces of text and the last line
    )


SCENARIOS = (
    Scenario("burst", "1,000 chunks, burst", Kind.STREAM, Ask("text-1000"), 1000, "chunk"),
    Scenario("paced", "300 chunks, paced", Kind.STREAM, Ask("text-300-every-2ms"), 300, "chunk"),
    Scenario("think", "thinking + text, burst", Kind.STREAM, Ask("think-1000"), 1000, "chunk"),
    Scenario("calls", "four tool calls", Kind.STREAM, Ask("calls-4", tool_count=4)),
    Scenario("streamed", "streamed call, 1 chunk", Kind.STREAM, Ask("text-1")),
    Scenario("whole", "whole call, 1 chunk", Kind.WHOLE, Ask("text-1")),
    Scenario("whole-10", "whole call, 10 chunks", Kind.WHOLE, Ask("text-10")),
    Scenario(
        "agent", "agent, 20 turns (Runner)", Kind.AGENT, Ask("agent-20", tool_count=1), 20, "turn"
    ),
    *(
        Scenario(f"history-{n}", f"history of {n:,} items", Kind.WHOLE, Ask("text-1", items=n))
        for n in (1, 10, 100, 1000)
    ),
    *(
        Scenario(f"tools-{n}", f"{n} tools", Kind.WHOLE, Ask("text-1", tool_count=n))
        for n in (1, 10, 100)
    ),
    Scenario("first", "time to first text", Kind.FIRST, Ask("text-2-every-2ms")),
    *(_parallel(streams) for streams in (1, 16, 64, 256)),
    Scenario(
        "long",
        "40,000 chunks, burst",
        Kind.STREAM,
        Ask("text-40000"),
        40000,
        "chunk",
        rounds=3,
    ),
    Scenario(
        "growth",
        "memory left by 10,000 calls",
        Kind.GROWTH,
        Ask("text-10"),
        parallel=10_000,
        rounds=1,
        lean=True,
    ),
)


def named(names: list[str]) -> list[Scenario]:
    """The scenarios called *names*, or all of them.

    Raises:
        ValueError: There is no such scenario.
    """
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"There is no scenario {unknown[0]!r}; there are {', '.join(known)}.")
    return [known[name] for name in names] if names else list(SCENARIOS)
