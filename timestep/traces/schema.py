"""The tables of a trace store, and how an older file becomes a current one.

Rows are only ever added: a span is one row when it starts and another when it ends, so a killed
process leaves a readable story. Triggers hold that; only whole runs are deleted.
"""

import sqlite3
import time
from pathlib import Path

BUSY_SECONDS = 30.0
"""How long one process waits for another one's transaction."""

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

MIGRATIONS: tuple[str, ...] = (_FIRST + _APPEND_ONLY,)
"""Script number n brings a file from version n to n + 1. Never edit one that was released."""


class StoreError(Exception):
    """The file cannot be used as a trace store; the message says what to do."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the store at *path*, created or brought up to date; any thread may use it.

    Raises:
        StoreError: The file is no trace store, comes from a newer timestep, or cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)  # prompts are private
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as exc:
        raise StoreError(
            f"{path} cannot be opened: {exc}. Set traces.path to a writable file."
        ) from exc
    try:
        _prepare(connection, path)
    except sqlite3.Error as exc:
        connection.close()
        raise StoreError(
            f"{path} cannot be used as a trace store: {exc}. Move the file away, or set "
            "traces.path to another one."
        ) from exc
    except StoreError:
        connection.close()
        raise
    return connection


def connect_empty() -> sqlite3.Connection:
    """A connection to a store without runs, in memory; any thread may use it."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _migrate(connection)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    version = _version(connection)
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} comes from a newer timestep (version {version} of the tables, this one "
            f"knows {len(MIGRATIONS)}). Install that one, or name another file in traces.path."
        )
    _check_ours(connection, path)
    _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        for number in range(_version(connection), len(MIGRATIONS)):
            for statement in statements(MIGRATIONS[number]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait for a lock here, so this does."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's database."""
    known = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if known not in {0, APPLICATION_ID} or (known == 0 and tables):
        raise StoreError(
            f"{path} is a database of another program. Set traces.path to another file."
        )


def statements(script: str) -> list[str]:
    """The statements of *script*, one by one: ``executescript`` would end the transaction."""
    statements: list[str] = []
    part = ""
    for piece in script.split(";"):
        part += piece + ";"
        if sqlite3.complete_statement(part):
            statements.append(part)
            part = ""
    return statements
