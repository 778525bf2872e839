"""The tables of a trace store.

Rows are only added: a span is one row when it starts and another when it ends, so a killed
process leaves a readable story. Triggers refuse updates; only whole runs are deleted.

Ids are random, so an index that begins with a span's id would be written all over. Those here
begin with the run: what a run writes stays together.
"""

import sqlite3

from timestep.traces.transactions import transaction

APPLICATION_ID = 0x7473_7472
"""Marks the file as ours ("tstr"), as SQLite's ``application_id``."""

VERSION = 8
"""Of these tables, as SQLite's ``user_version``. Versions 1 to 7 were never released."""

_SCHEMA = """
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
    ended_at REAL NOT NULL,
    UNIQUE (trace_id, ended_at)
);

CREATE TABLE spans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    span_id TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    parent_id TEXT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    started_at REAL NOT NULL,
    question TEXT,
    UNIQUE (trace_id, span_id)
);

CREATE TABLE span_ends (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    span_id TEXT NOT NULL,
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
    prompt_seconds REAL,
    output_seconds REAL,
    context_length INTEGER,
    total_seconds REAL,
    cost REAL,
    question TEXT,
    answer TEXT,
    outcome TEXT,
    UNIQUE (trace_id, span_id)
);
CREATE INDEX span_ends_by_model ON span_ends (
    model, trace_id, ended_at, total_seconds, input_tokens, output_tokens, first_token_seconds, output_seconds
) WHERE model IS NOT NULL;
CREATE INDEX span_ends_of_agents ON span_ends (name, trace_id) WHERE kind = 'agent';
CREATE INDEX span_ends_of_tools ON span_ends (name, trace_id) WHERE kind = 'function';
CREATE INDEX span_ends_with_error ON span_ends (trace_id, model, ended_at)
    WHERE error IS NOT NULL;

CREATE TABLE exchanges (
    id INTEGER PRIMARY KEY,
    span_end INTEGER NOT NULL,
    url TEXT NOT NULL,
    status INTEGER,
    request TEXT NOT NULL,
    response TEXT NOT NULL
);
CREATE INDEX exchanges_by_span ON exchanges (span_end);

CREATE TABLE bodies (
    hash TEXT PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE losses (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    events INTEGER NOT NULL,
    reason TEXT NOT NULL
);

CREATE TABLE deleted (
    trace_id TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE VIRTUAL TABLE texts USING fts5 (text, tokenize = "unicode61 remove_diacritics 2");
"""
# ``deleted`` has the runs that were deleted before they ended; their later events are not stored.

_APPEND_ONLY = "".join(
    f"CREATE TRIGGER {table}_are_final BEFORE UPDATE ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'traces are append-only'); END;\n"
    for table in ("traces", "trace_ends", "spans", "span_ends", "exchanges", "bodies", "losses")
)


def version(connection: sqlite3.Connection) -> int:
    """Return the version of the file's tables; 0 of an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def create(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, in one transaction."""
    with transaction(connection):
        if version(connection):
            return  # another process was faster
        for statement in statements(_SCHEMA + _APPEND_ONLY):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
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
