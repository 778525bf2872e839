"""The queries of a trace store. Every function takes a connection and only reads."""

import json
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, cast

from timestep.traces.columns import messages_of, parsed
from timestep.traces.records import Span, StoredExchange, Summary, Trace
from timestep.traces.statistics import IS_REPLAY

_ID_START = 4
"""So many characters of an id name a run, when no other one begins with them."""

_ENDED = "(SELECT max(ended_at) FROM trace_ends WHERE trace_id = t.trace_id)"

_QUESTION = """
coalesce((SELECT question FROM spans
          WHERE trace_id = t.trace_id AND question IS NOT NULL ORDER BY id LIMIT 1),
         (SELECT question FROM span_ends
          WHERE trace_id = t.trace_id AND question IS NOT NULL ORDER BY id LIMIT 1))
"""

# Of a step. Hand-written events have errors without an outcome.
_STEP_OUTCOME = "coalesce(outcome, CASE WHEN error IS NOT NULL THEN 'failed' END)"

# A run stands as its last step that went wrong, unless a model answered after it.
_OUTCOME = f"""
CASE WHEN NOT EXISTS (SELECT 1 FROM trace_ends WHERE trace_id = t.trace_id) THEN 'running'
ELSE coalesce(
    (SELECT {_STEP_OUTCOME} FROM span_ends
     WHERE trace_id = t.trace_id AND {_STEP_OUTCOME} IS NOT NULL
     AND id >= (SELECT coalesce(max(id), 0) FROM span_ends WHERE trace_id = t.trace_id
                AND model IS NOT NULL AND coalesce({_STEP_OUTCOME}, 'cut') = 'cut')
     ORDER BY id DESC LIMIT 1),
    CASE WHEN {IS_REPLAY} THEN 'replayed' ELSE 'ok' END)
END
"""  # noqa: S608 - built from constants

_SUMMARY = f"""
SELECT t.trace_id, t.name, t.group_id, t.started_at, {_ENDED}, coalesce({_QUESTION}, ''),
       coalesce((SELECT answer FROM span_ends
                 WHERE trace_id = t.trace_id AND answer IS NOT NULL ORDER BY id DESC LIMIT 1), ''),
       {_OUTCOME},
       (SELECT json_group_array(model) FROM
        (SELECT model FROM span_ends WHERE trace_id = t.trace_id AND model IS NOT NULL
         GROUP BY model ORDER BY min(id))),
       (SELECT json_group_array(name) FROM
        (SELECT name FROM spans WHERE trace_id = t.trace_id AND kind = 'agent'
         GROUP BY name ORDER BY min(id))),
       e.calls, e.tools, e.errors, e.input_tokens, e.output_tokens, e.cost
FROM traces t, (
    SELECT count(*) FILTER (WHERE kind IN ('generation', 'response')) AS calls,
           count(*) FILTER (WHERE kind = 'function') AS tools,
           count(error) AS errors,
           CAST(total(input_tokens) AS INTEGER) AS input_tokens,
           CAST(total(output_tokens) AS INTEGER) AS output_tokens,
           sum(cost) AS cost
    FROM span_ends WHERE trace_id = :id
) e
WHERE t.trace_id = :id
"""  # noqa: S608 - built from constants

_SPAN_COLUMNS = """
SELECT s.span_id, s.trace_id, s.parent_id, s.kind, coalesce(e.name, s.name), s.started_at,
       e.ended_at, e.error, e.data, e.model, e.input_tokens, e.output_tokens,
       e.first_token_seconds, e.load_seconds, e.prompt_seconds, e.output_seconds,
       e.context_length, e.cost,
       coalesce(e.outcome, CASE WHEN e.error IS NOT NULL THEN 'failed' END), e.id
FROM spans s LEFT JOIN span_ends e ON e.trace_id = s.trace_id AND e.span_id = s.span_id
"""


@dataclass(frozen=True)
class Filter:
    """Which runs to list; None means any.

    Attributes:
        text: Words, all of which one step of the run contains; see `search`.
        model: A model that was called.
        agent: An agent that ran.
        tool: A tool that was called.
        group: The group id, such as a conversation's.
        failed: Only runs with a failed step, or only ones without.
        outcome: Only runs that ended so: one of `timestep.traces.records.OUTCOMES`.
        running: Only runs that have not ended, or only ones that have.
        since: Unix seconds; only runs that began then or later.
        before: Unix seconds; only runs that began before.
    """

    text: str | None = None
    model: str | None = None
    agent: str | None = None
    tool: str | None = None
    group: str | None = None
    failed: bool | None = None
    outcome: str | None = None
    running: bool | None = None
    since: float | None = None
    before: float | None = None


@dataclass(frozen=True)
class Hit:
    """A step that a search found; *excerpt* is the text around the words, marked ``[…]``."""

    trace_id: str
    trace_name: str
    span_id: str
    kind: str
    name: str
    ended_at: float
    excerpt: str


def summaries(connection: sqlite3.Connection, wanted: Filter, *, limit: int) -> list[Summary]:
    """Return the runs that *wanted* describes, newest first."""
    where, values = _conditions(wanted)
    found = connection.execute(
        f"SELECT trace_id FROM traces t {where} ORDER BY started_at DESC, id DESC LIMIT ?",  # noqa: S608 - built from constants
        (*values, limit),
    ).fetchall()
    return [summary for (trace_id,) in found if (summary := summarize(connection, trace_id))]


def summarize(connection: sqlite3.Connection, trace_id: str) -> Summary | None:
    """Return the summary of one run, or None if it does not exist."""
    row = connection.execute(_SUMMARY, {"id": trace_id}).fetchone()
    if row is None:
        return None
    values: dict[str, Any] = dict(zip(_SUMMARY_FIELDS, row, strict=True))
    for name in ("models", "agents"):
        values[name] = tuple(json.loads(values[name]))
    return Summary(**_sound(Summary, values))


def find_id(connection: sqlite3.Connection, start: str) -> list[str]:
    """The ids of the runs that *start* may mean: the id itself, or those that begin with it.

    The SDK's prefix ``trace_`` may be left out; ``last`` and ``last-1`` count from the newest.
    """
    if found := re.fullmatch(r"last(?:-(\d{1,18}))?", start):
        rows = connection.execute(
            "SELECT trace_id FROM traces ORDER BY started_at DESC, id DESC LIMIT 1 OFFSET ?",
            (int(found[1] or 0),),
        )
        return [key for (key,) in rows]
    if connection.execute("SELECT 1 FROM traces WHERE trace_id = ?", (start,)).fetchone():
        return [start]
    if len(start) < _ID_START:
        return []
    starts = (start, f"trace_{start}")
    rows = connection.execute(
        "SELECT trace_id FROM traces WHERE substr(trace_id, 1, ?) = ? OR substr(trace_id, 1, ?) = ? "
        "LIMIT 10",
        (len(starts[0]), starts[0], len(starts[1]), starts[1]),
    )
    return [key for (key,) in rows]


def load(connection: sqlite3.Connection, trace_id: str) -> Trace | None:
    """One run with all its spans, or None."""
    query = "SELECT metadata FROM traces WHERE trace_id = ?"
    row, summary = (
        connection.execute(query, (trace_id,)).fetchone(),
        summarize(connection, trace_id),
    )
    if row is None or summary is None:
        return None
    return Trace(
        **{name: getattr(summary, name) for name in _TRACE_FIELDS},
        metadata=_object(row[0]),
        spans=_spans(connection, "s.trace_id = ?", [trace_id]),
    )


def body(connection: sqlite3.Connection, digest: str) -> bytes | None:
    """Return the body with the SHA-256 *digest*, or None."""
    row = connection.execute("SELECT body FROM bodies WHERE hash = ?", (digest,)).fetchone()
    if row is None:
        return None
    return row[0] if isinstance(row[0], bytes) else str(row[0]).encode()  # of a damaged file


def search(connection: sqlite3.Connection, text: str, *, limit: int) -> list[Hit]:
    """Return the steps that have all words of *text*, or words that start so; newest first."""
    query = match_words(text)
    if not query:
        return []
    rows = connection.execute(
        "SELECT e.trace_id, t.name, e.span_id, e.kind, e.name, e.ended_at, "
        "snippet(texts, 0, '[', ']', '…', 16) FROM texts "
        "JOIN span_ends e ON e.id = texts.rowid JOIN traces t ON t.trace_id = e.trace_id "
        "WHERE texts MATCH ? ORDER BY texts.rowid DESC LIMIT ?",
        (query, limit),
    )
    return [Hit(**_sound(Hit, dict(zip(_HIT_FIELDS, row, strict=True)))) for row in rows]


class Cursor(NamedTuple):
    """A place in the record: the newest row of each table that grows while agents run."""

    traces: int = 0
    trace_ends: int = 0
    spans: int = 0
    span_ends: int = 0


def cursor(connection: sqlite3.Connection) -> Cursor:
    """Return the cursor behind everything that is stored."""
    return Cursor(
        *(
            connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608 - from a constant
            for table in Cursor._fields
        )
    )


def runs_after(connection: sqlite3.Connection, after: Cursor) -> tuple[list[str], Cursor]:
    """Return the ids of the runs with something new behind *after*, and the next cursor."""
    now = cursor(connection)
    runs: dict[str, None] = {}
    for table, seen, newest in zip(Cursor._fields, after, now, strict=True):
        if newest > seen:
            rows = connection.execute(
                f"SELECT DISTINCT trace_id FROM {table} WHERE id > ?",  # noqa: S608 - from a constant
                (seen,),
            )
            runs |= dict.fromkeys(trace_id for (trace_id,) in rows)
    return list(runs), now


def spans_after(connection: sqlite3.Connection, after: Cursor) -> tuple[list[Span], Cursor]:
    """Return the next spans that started or ended behind *after*, and the next cursor."""
    starts = connection.execute(
        "SELECT id, id FROM spans WHERE id > ? ORDER BY id LIMIT 500", (after.spans,)
    ).fetchall()
    ends = connection.execute(
        "SELECT e.id, s.id FROM span_ends e LEFT JOIN spans s USING (trace_id, span_id) "
        "WHERE e.id > ? ORDER BY e.id LIMIT 500",
        (after.span_ends,),
    ).fetchall()
    found = json.dumps([key for _, key in (*starts, *ends)])
    seen = after._replace(
        spans=starts[-1][0] if starts else after.spans,
        span_ends=ends[-1][0] if ends else after.span_ends,
    )
    condition = "s.id IN (SELECT value FROM json_each(?))"
    return _spans(connection, condition, [found]), seen


def values(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the models, agents and tools that filters can name."""
    wanted = {
        "model": "SELECT DISTINCT model FROM span_ends WHERE model IS NOT NULL",
        "agent": "SELECT DISTINCT name FROM span_ends WHERE kind = 'agent'",
        "tool": "SELECT DISTINCT name FROM span_ends WHERE kind = 'function'",
    }
    return {
        name: sorted(value for (value,) in connection.execute(query))
        for name, query in wanted.items()
    }


def match_words(text: str) -> str:
    """Return an FTS5 query for all words of *text*, each as the start of a word."""
    words = text.replace('"', " ").split()
    return " ".join(f'"{word}"*' for word in words if any(c.isalnum() for c in word))


def _conditions(wanted: Filter) -> tuple[str, list[Any]]:
    span = "EXISTS (SELECT 1 FROM span_ends e WHERE e.trace_id = t.trace_id AND {})"
    ended = "EXISTS (SELECT 1 FROM trace_ends WHERE trace_id = t.trace_id)"
    failed = span.format("e.error IS NOT NULL")
    conditions: list[tuple[str, Any]] = [
        (span.format("e.model = ?"), wanted.model),
        (span.format("e.kind = 'agent' AND e.name = ?"), wanted.agent),
        (span.format("e.kind = 'function' AND e.name = ?"), wanted.tool),
        ("t.group_id = ?", wanted.group),
        ("t.started_at >= ?", wanted.since),
        ("t.started_at < ?", wanted.before),
        (f"{failed} = ?", wanted.failed),
        (f"{_OUTCOME} = ?", wanted.outcome),
        (f"(NOT {ended}) = ?", wanted.running),
    ]
    if wanted.text is not None:
        found = (
            "t.trace_id IN (SELECT e.trace_id FROM texts JOIN span_ends e ON e.id = texts.rowid "
            "WHERE texts MATCH ?)"
        )
        conditions.append((found, match_words(wanted.text) or '""'))
    used = [(sql, value) for sql, value in conditions if value is not None]
    where = "WHERE " + " AND ".join(sql for sql, _ in used) if used else ""
    return where, [value for _, value in used]


def _spans(connection: sqlite3.Connection, condition: str, keys: Sequence[str]) -> list[Span]:
    rows = connection.execute(
        f"{_SPAN_COLUMNS} WHERE {condition} ORDER BY s.started_at, s.id", keys
    ).fetchall()
    exchanges: dict[int, list[StoredExchange]] = {}
    for span_end, *exchange in connection.execute(
        "SELECT span_end, url, status, request, response FROM exchanges "
        "WHERE span_end IN (SELECT value FROM json_each(?)) ORDER BY id",
        (json.dumps([row[-1] for row in rows]),),
    ):
        exchanges.setdefault(span_end, []).append(StoredExchange(*exchange))
    return [_span(connection, row[:-1], exchanges.get(row[-1], [])) for row in rows]


def _span(
    connection: sqlite3.Connection, row: tuple[Any, ...], exchanges: list[StoredExchange]
) -> Span:
    content = _object(row[8]) or {}
    if exchanges and "input" not in content:
        # The request is stored once, byte for byte; the span's input is a part of it.
        content["input"] = messages_of(body(connection, exchanges[-1].request))
    values = dict(zip(_SPAN_FIELDS, row, strict=True))
    values["error"] = _object(row[7])
    values["data"] = content
    return Span(**_sound(Span, values), exchanges=tuple(exchanges))


_PLAIN = (str, int, float, str | None, int | None, float | None)


def _sound(record: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return *values* for *record*, without what its fields cannot hold: a damaged file has it."""
    for field in fields(record):
        kind: Any = field.type
        if kind in _PLAIN and not isinstance(values.get(field.name), kind):
            values[field.name] = kind() if isinstance(kind, type) else None
    return values


_HIT_FIELDS = [field.name for field in fields(Hit)]
_SUMMARY_FIELDS = [field.name for field in fields(Summary)]
_TRACE_FIELDS = [field.name for field in fields(Trace) if field.name in _SUMMARY_FIELDS]
_SPAN_FIELDS = [field.name for field in fields(Span) if field.name != "exchanges"]


def _object(text: str | None) -> dict[str, Any] | None:
    """Return the stored JSON object *text*; what a damaged file has in its place is shown as text."""
    if text is None:
        return None
    value = parsed(str(text))
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {"unreadable": str(text)}
