"""The tables of a trace store, and how an older file is brought up to date.

Rows are only added: a span is one row when it starts and another when it ends, so a killed
process leaves a readable story. Triggers refuse updates; only whole runs are deleted.
"""

import sqlite3

from timestep.traces.transactions import transaction

APPLICATION_ID = 0x7473_7472
"""Marks the file as ours ("tstr"), as SQLite's ``application_id``."""

_FIRST = """
CREATE TABLE traces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    group_id TEXT,
    metadata TEXT,
    started_at REAL NOT NULL
);
CREATE INDEX traces_by_start ON traces (started_at);

CREATE TABLE trace_ends (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id TEXT NOT NULL,
    ended_at REAL NOT NULL
);
CREATE INDEX trace_ends_by_trace ON trace_ends (trace_id);

CREATE TABLE spans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    span_id TEXT NOT NULL UNIQUE,
    trace_id TEXT NOT NULL,
    parent_id TEXT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL
);
CREATE INDEX spans_by_trace ON spans (trace_id);

CREATE TABLE span_ends (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    span_id TEXT NOT NULL UNIQUE,
    trace_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    ended_at REAL NOT NULL,
    error TEXT,
    data TEXT NOT NULL,
    model TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    first_token_seconds REAL,
    load_seconds REAL,
    prefill_seconds REAL,
    decode_seconds REAL,
    context_length INTEGER,
    seconds REAL
);
CREATE INDEX span_ends_by_trace ON span_ends (trace_id);
CREATE INDEX span_ends_by_model ON span_ends (
    model, trace_id, ended_at, seconds, input_tokens, output_tokens, first_token_seconds, decode_seconds
) WHERE model IS NOT NULL;
CREATE INDEX span_ends_by_name ON span_ends (kind, name, trace_id);
CREATE INDEX span_ends_with_error ON span_ends (trace_id, model, ended_at)
    WHERE error IS NOT NULL;

CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    span_id TEXT NOT NULL,
    url TEXT NOT NULL,
    status INTEGER,
    request TEXT NOT NULL,
    response TEXT NOT NULL
);
CREATE INDEX exchanges_by_span ON exchanges (span_id);
CREATE INDEX exchanges_by_request ON exchanges (request);
CREATE INDEX exchanges_by_response ON exchanges (response);

CREATE TABLE bodies (
    hash TEXT PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE losses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    events INTEGER NOT NULL,
    reason TEXT NOT NULL
);

CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = "unicode61 remove_diacritics 2");
"""

_TABLES = ("traces", "trace_ends", "spans", "span_ends", "exchanges", "bodies", "losses")

_APPEND_ONLY = "".join(
    f"CREATE TRIGGER {table}_are_final BEFORE UPDATE ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'traces are append-only'); END;\n"
    for table in _TABLES
)

_DELETED_RUNS = """
CREATE TABLE deleted (
    trace_id TEXT PRIMARY KEY
) WITHOUT ROWID;
"""
"""The runs that were deleted before they ended; their later events are not stored."""

_ONE_VOCABULARY = """
ALTER TABLE span_ends RENAME COLUMN prefill_seconds TO prompt_seconds;
ALTER TABLE span_ends RENAME COLUMN decode_seconds TO output_seconds;
ALTER TABLE span_ends RENAME COLUMN seconds TO total_seconds;
"""
"""Timings are named as in ``timestep run --json``."""

_COST = "ALTER TABLE span_ends ADD COLUMN cost REAL;"

_WORDS = """
ALTER TABLE span_ends ADD COLUMN question TEXT;
ALTER TABLE span_ends ADD COLUMN answer TEXT;
ALTER TABLE span_ends ADD COLUMN outcome TEXT;
"""
"""What lists say of a run, so that they need not read its requests."""

_FEWER_INDEXES = "DROP INDEX exchanges_by_request; DROP INDEX exchanges_by_response;"
"""Only pruning used them, and writing to them was a tenth of what a commit costs."""

_EARLY_QUESTION = "ALTER TABLE spans ADD COLUMN question TEXT;"
"""A run is called by its question from the start of its first model call."""

MIGRATIONS: tuple[str, ...] = (
    _FIRST + _APPEND_ONLY,
    _DELETED_RUNS,
    _ONE_VOCABULARY,
    _COST,
    _WORDS,
    _FEWER_INDEXES,
    _EARLY_QUESTION,
)
"""Script number n brings a file from version n to n + 1. Never edit a released one."""


def version(connection: sqlite3.Connection) -> int:
    """Return how many of `MIGRATIONS` the file has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Create the tables, or bring older ones up to date, in one transaction."""
    with transaction(connection):
        # Read again inside the transaction: another process may have been faster.
        for number in range(version(connection), len(MIGRATIONS)):
            for statement in statements(MIGRATIONS[number]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def statements(script: str) -> list[str]:
    """Split *script* into its statements; ``executescript`` would end the transaction."""
    statements: list[str] = []
    part = ""
    for piece in script.split(";"):
        part += piece + ";"
        if sqlite3.complete_statement(part):
            statements.append(part)
            part = ""
    return statements
