"""Statistics of a trace store: what the calls of each model, agent, tool or day come to.

Replays are left out: they repeat what was counted.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from timestep.traces.records import speed

By = Literal["model", "agent", "tool", "day"]
"""What calls are grouped by: days are local; calls of tools are counted for ``tool``, else of models."""

_AGENT = """
coalesce((
    WITH RECURSIVE around (parent_id, kind, name) AS (
        SELECT parent_id, kind, name FROM spans WHERE trace_id = e.trace_id AND span_id = e.span_id
        UNION ALL
        SELECT s.parent_id, s.kind, s.name FROM around
        JOIN spans s ON s.trace_id = e.trace_id AND s.span_id = around.parent_id
        WHERE around.kind <> 'agent'
    )
    SELECT name FROM around WHERE kind = 'agent'
), 'no agent')
"""

_NAMES = {
    "model": "e.model",
    "agent": _AGENT,
    "tool": "e.name",
    "day": "date(e.ended_at, 'unixepoch', 'localtime')",
}

_CALLS = """
SELECT {name}, e.error IS NOT NULL, e.total_seconds, e.input_tokens, e.output_tokens,
       e.first_token_seconds, e.output_seconds, e.cost
FROM span_ends e
WHERE {condition} AND e.ended_at >= ? AND e.trace_id NOT IN (
    SELECT trace_id FROM traces t WHERE {is_replay})
"""

IS_REPLAY = "(json_valid(t.metadata) AND json_extract(t.metadata, '$.replay_of') IS NOT NULL)"
"""Whether the run ``t`` is a replay, in SQL."""


@dataclass(frozen=True)
class Stats:
    """What the calls of one model, agent, tool or day come to. Times are seconds.

    Attributes:
        name: Of the model, agent or tool, or the day as ``YYYY-MM-DD``.
        p50: The median duration of a call.
        first_token_seconds: From the request to the first output, the median.
        tokens_per_second: While decoding, the mean over the calls that report it; answers of one
            or two tokens say nothing about the speed and do not count.
        cost: Of the calls whose cost is known, in US dollars; None when no cost is known.
    """

    name: str
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    p50: float
    p90: float
    p99: float
    first_token_seconds: float | None
    tokens_per_second: float | None
    cost: float | None = None


def statistics(connection: sqlite3.Connection, by: By, *, since: float = 0.0) -> list[Stats]:
    """Return what was called since the Unix time *since*: the newest day first, else the most called."""
    condition = "e.kind = 'function'" if by == "tool" else "e.model IS NOT NULL"
    query = _CALLS.format(name=_NAMES[by], condition=condition, is_replay=IS_REPLAY)
    by_name: dict[str, list[tuple[Any, ...]]] = {}
    for name, *call in connection.execute(query, (since,)):
        by_name.setdefault(name, []).append(tuple(call))
    found = [_stats_of(name, calls) for name, calls in by_name.items()]
    if by == "day":
        return sorted(found, key=lambda stats: stats.name, reverse=True)
    return sorted(found, key=lambda stats: (-stats.calls, stats.name))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest sorted value that *percent* percent of *values* do not exceed."""
    rank = max(1, -(-len(values) * percent // 100))  # rounded up
    return values[int(rank) - 1]


def _stats_of(name: str, calls: list[tuple[Any, ...]]) -> Stats:
    errors, seconds, given, made, first_tokens, decoding, costs = (
        list(column) for column in zip(*calls, strict=True)
    )
    times = sorted(value for value in seconds if value is not None) or [0.0]
    waits = sorted(value for value in first_tokens if value is not None)
    return Stats(
        name=name,
        calls=len(calls),
        errors=sum(errors),
        input_tokens=sum(value or 0 for value in given),
        output_tokens=sum(value or 0 for value in made),
        p50=percentile(times, 50),
        p90=percentile(times, 90),
        p99=percentile(times, 99),
        first_token_seconds=percentile(waits, 50) if waits else None,
        tokens_per_second=speed(zip(made, decoding, strict=True)),
        cost=sum(known) if (known := [cost for cost in costs if cost is not None]) else None,
    )
