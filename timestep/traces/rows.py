"""Turns events into rows of a trace store."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from timestep.traces.markdown import plain_words
from timestep.traces.records import (
    Event,
    SpanEnded,
    SpanStarted,
    TraceEnded,
    TraceStarted,
)
from timestep.traces.text import one_line
from timestep.traces.transactions import transaction

_INSERT_TRACE = "INSERT OR IGNORE INTO traces (trace_id, name, group_id, metadata, started_at)"
_INSERT_TRACE_END = "INSERT OR IGNORE INTO trace_ends (trace_id, ended_at)"
_INSERT_SPAN = (
    "INSERT OR IGNORE INTO spans (span_id, trace_id, parent_id, kind, name, started_at, question)"
)
_INSERT_SPAN_END = (
    "INSERT OR IGNORE INTO span_ends (span_id, trace_id, kind, name, ended_at, error, data, model, "
    "input_tokens, output_tokens, first_token_seconds, load_seconds, prompt_seconds, "
    "output_seconds, context_length, total_seconds, cost, question, answer, outcome) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_TEXT = "INSERT INTO texts (rowid, text)"
_INSERT_BODY = "INSERT OR IGNORE INTO bodies (hash, body)"
_INSERT_EXCHANGE = "INSERT INTO exchanges (span_end, url, status, request, response)"
_SELECT_DELETED = "SELECT trace_id FROM deleted WHERE trace_id IN (SELECT value FROM json_each(?))"
_INSERT_LOSS = "INSERT INTO losses (at, events, reason) VALUES (?, ?, ?)"
_TEXT_COLUMN = SpanEnded._fields.index("text")
_MOST_ROWS = 100
"""How many rows one statement inserts."""
_MOST_WORDS = 200
"""How many characters of a question and an answer a list shows at most."""
_MOST_READ = 10 * _MOST_WORDS
"""So many characters are read for them: the rest are marks and spaces."""

_OF_THE_DATABASE = (sqlite3.OperationalError, sqlite3.NotSupportedError, sqlite3.InternalError)
"""Errors of the file, not of an event; `sqlite3.DatabaseError` itself is another one."""


def write(
    connection: sqlite3.Connection, events: Sequence[Event], losses: Mapping[str, int] | None = None
) -> list[str]:
    """Add *events*, and the counts of lost ones by reason, in one transaction.

    An event that SQLite cannot store is counted as lost; the others are added all the same. Return
    a reason for each event that is lost. When the database cannot be written, nothing was added.
    """
    try:
        _commit(connection, events, losses or {})
    except Exception as exc:
        if isinstance(exc, _OF_THE_DATABASE) or type(exc) is sqlite3.DatabaseError:
            raise
        if len(events) > 1:
            half = len(events) // 2
            return [
                *write(connection, events[:half], losses),
                *write(connection, events[half:]),
            ]
        reason = f"{type(exc).__name__} while writing"
        _commit(connection, [], {**(losses or {}), reason: 1})
        return [reason]
    return []


def _commit(
    connection: sqlite3.Connection, events: Sequence[Event], losses: Mapping[str, int]
) -> None:
    with transaction(connection):
        for reason, count in losses.items():
            connection.execute(_INSERT_LOSS, (time.time(), count, reason))
        _insert(connection, events)


def _insert(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    ids = json.dumps(sorted({event.trace_id for event in events}))
    deleted = {row[0] for row in connection.execute(_SELECT_DELETED, (ids,))}
    events = [event for event in events if event.trace_id not in deleted]
    starts = [event for event in events if isinstance(event, SpanStarted)]
    _insert_rows(connection, _INSERT_TRACE, [e for e in events if isinstance(e, TraceStarted)])
    # A resumed run continues a trace whose start another process recorded, or none did.
    unnamed = {event.trace_id: event for event in reversed(starts)}
    names = [(key, "Agent workflow", None, None, e.started_at) for key, e in unnamed.items()]
    _insert_rows(connection, _INSERT_TRACE, names)
    spans = [(*event[:-1], _brief(event.question)) for event in starts]
    _insert_rows(connection, _INSERT_SPAN, spans)
    _insert_span_ends(connection, [event for event in events if isinstance(event, SpanEnded)])
    _insert_rows(connection, _INSERT_TRACE_END, [e for e in events if isinstance(e, TraceEnded)])


def _insert_span_ends(connection: sqlite3.Connection, events: Sequence[SpanEnded]) -> None:
    texts: list[tuple[Any, ...]] = []
    exchanges: list[tuple[Any, ...]] = []
    bodies: dict[str, bytes] = {}
    for event in events:
        *columns, question, answer, outcome, _ = event
        del columns[_TEXT_COLUMN]
        row = (*columns, _brief(question), _brief(answer), outcome)
        cursor = connection.execute(_INSERT_SPAN_END, row)
        if cursor.rowcount == 0:
            continue  # the same end twice
        if event.text:
            texts.append((cursor.lastrowid, event.text))
        for exchange in event.exchanges:
            hashes = [hashlib.sha256(body).hexdigest() for body in exchange[2:]]
            bodies |= zip(hashes, exchange[2:], strict=True)
            exchanges.append((cursor.lastrowid, exchange.url, exchange.status, *hashes))
    _insert_rows(connection, _INSERT_TEXT, texts)
    _insert_rows(connection, _INSERT_BODY, list(bodies.items()))
    _insert_rows(connection, _INSERT_EXCHANGE, exchanges)


def _insert_rows(
    connection: sqlite3.Connection, insert: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert *rows* with few statements: after each, this thread waits for those it let run."""
    for at in range(0, len(rows), _MOST_ROWS):
        some = rows[at : at + _MOST_ROWS]
        marks = ", ".join([f"({', '.join('?' * len(some[0]))})"] * len(some))
        connection.execute(f"{insert} VALUES {marks}", [value for row in some for value in row])


def _brief(words: str | None) -> str | None:
    # Only now are they shortened: half a key looks like none.
    return words and one_line(plain_words(words[:_MOST_READ]), _MOST_WORDS)
