"""How events become rows of a trace store."""

import hashlib
import sqlite3
from collections.abc import Sequence

from timestep.traces.records import (
    Event,
    Exchange,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)

_INSERT_TRACE = (
    "INSERT OR IGNORE INTO traces (trace_id, name, group_id, metadata, started_at) "
    "VALUES (?, ?, ?, ?, ?)"
)
_INSERT_TRACE_END = "INSERT INTO trace_ends (trace_id, ended_at) VALUES (?, ?)"
_INSERT_SPAN = (
    "INSERT OR IGNORE INTO spans (span_id, trace_id, parent_id, kind, name, started_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_INSERT_SPAN_END = (
    "INSERT OR IGNORE INTO span_ends (span_id, trace_id, kind, name, ended_at, error, data, model, "
    "input_tokens, output_tokens, first_token_seconds, load_seconds, prefill_seconds, "
    "decode_seconds, context_length, seconds) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_TEXT = "INSERT INTO texts (rowid, text) VALUES (?, ?)"
_INSERT_BODY = "INSERT OR IGNORE INTO bodies (hash, body) VALUES (?, ?)"
_INSERT_EXCHANGE = (
    "INSERT INTO exchanges (span_id, url, status, request, response) VALUES (?, ?, ?, ?, ?)"
)
_TEXT_COLUMN = SpanEnded._fields.index("text")


def insert(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Add *events* inside the transaction that the caller began.

    Raises:
        sqlite3.Error: The database refuses them.
    """
    starts = [event for event in events if isinstance(event, SpanStarted)]
    traces = [event for event in events if isinstance(event, TraceStarted)]
    connection.executemany(_INSERT_TRACE, traces)
    # A resumed run goes on with a trace whose beginning another process saw, or nobody.
    unnamed = {event.trace_id: event for event in reversed(starts)}
    connection.executemany(
        _INSERT_TRACE,
        [(key, "Agent workflow", None, None, event.started_at) for key, event in unnamed.items()],
    )
    connection.executemany(_INSERT_SPAN, starts)
    for event in events:
        if isinstance(event, SpanEnded):
            _insert_span_end(connection, event)
    ends = [event for event in events if isinstance(event, TraceEnded)]
    connection.executemany(_INSERT_TRACE_END, ends)


def _insert_span_end(connection: sqlite3.Connection, event: SpanEnded) -> None:
    cursor = connection.execute(
        _INSERT_SPAN_END, (*event[:_TEXT_COLUMN], *event[_TEXT_COLUMN + 1 : -1])
    )
    if cursor.rowcount == 0:
        return  # the same end twice
    if event.text:
        connection.execute(_INSERT_TEXT, (cursor.lastrowid, event.text))
    for exchange in event.exchanges:
        _insert_exchange(connection, event.span_id, exchange)


def _insert_exchange(connection: sqlite3.Connection, span_id: str, exchange: Exchange) -> None:
    hashes: list[str] = []
    for body in (exchange.request, exchange.response):
        hashes.append(hashlib.sha256(body).hexdigest())
        connection.execute(_INSERT_BODY, (hashes[-1], body))
    connection.execute(_INSERT_EXCHANGE, (span_id, exchange.url, exchange.status, *hashes))
