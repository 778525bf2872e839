"""The tables of a trace store, and how an older file becomes a current one.

Rows are only ever added: a span is one row when it starts and another when it ends, so a killed
process leaves a readable story. Triggers hold that; only whole runs are deleted.
"""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

BUSY_SECONDS = 30.0
"""How long one process waits for another one's transaction."""

_READ_SECONDS = 5.0
"""The same for who only reads, and hardly ever has to."""

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
"""The runs that were deleted before they ended: what comes of them later is not stored."""

MIGRATIONS: tuple[str, ...] = (_FIRST + _APPEND_ONLY, _DELETED_RUNS)
"""Script number n brings a file from version n to n + 1. Never edit one that was released."""


class StoreError(Exception):
    """The file cannot be used as a trace store; the message says what to do."""


def connect(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection to the store at *path*, created or brought up to date; any thread may use it.

    Args:
        path: The file.
        busy_seconds: How long to wait for another process's transaction.

    Raises:
        StoreError: The file is no trace store, comes from a newer timestep, or cannot be opened.
    """
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)  # prompts are private
        connection = _open(path, "mode=rw", busy_seconds)
        with _closed_on_error(connection):
            _prepare(connection, path, busy_seconds)
        return connection


def connect_to_read(path: Path) -> sqlite3.Connection | None:
    """A connection that reads the store at *path*, or None when nothing was written there yet.

    Neither the file nor its directory has to be writable, and a file that is not ours is not
    touched. Any thread may use it.

    Raises:
        StoreError: The file is no trace store, comes from a newer timestep, or cannot be opened.
    """
    with _told(path):
        if not path.exists():
            return None
        connection = _open_to_read(path)
        with _closed_on_error(connection):
            _check_ours(connection, path)
            version = _version(connection)
        if version == len(MIGRATIONS):
            return connection
        connection.close()
    return connect(path) if version else None


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Troubles with the file at *path*, in words."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as exc:
        raise StoreError(
            f"{path} cannot be opened: {exc}. Name a readable and writable file in traces.path."
        ) from exc
    except sqlite3.Error as exc:
        raise StoreError(
            f"{path} cannot be used as a trace store: {exc}. Move the file away, or set "
            "traces.path to another one."
        ) from exc


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Generator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _open(path: Path, how: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )


def _open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that has read from the file at *path*."""
    # SQLite takes less than "rw" where it may not write.
    connection = _open(path, "mode=rw", _READ_SECONDS)
    with _closed_on_error(connection):
        try:
            _version(connection)
        except sqlite3.OperationalError as exc:
            # A file that nobody has open can be read without the files SQLite keeps beside it.
            if not exc.sqlite_errorname.startswith(_NOT_WRITABLE) or _has_wal(path):
                raise
        else:
            return connection
    connection.close()
    return _open(path, "mode=ro&immutable=1")


_NOT_WRITABLE = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_FULL")


def _has_wal(path: Path) -> bool:
    """True when some of the store is still in the file beside the one at *path*."""
    wal = path.with_name(f"{path.name}-wal")
    return wal.exists() and wal.stat().st_size > 0


def file_id(path: Path) -> tuple[int, int] | None:
    """Which file lies at *path*, or None: a connection goes on with one that was deleted."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def connect_empty() -> sqlite3.Connection:
    """A connection to a store without runs, in memory; any thread may use it."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _migrate(connection)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, busy_seconds: float) -> None:
    _check_ours(connection, path)  # before anything changes
    _use_wal(connection, busy_seconds)
    connection.execute("PRAGMA synchronous = NORMAL")
    if _version(connection) < len(MIGRATIONS):
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
        undo(connection)
        raise


def undo(connection: sqlite3.Connection) -> None:
    """End the transaction as if it had not begun; a full disk may have done that already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to WAL; SQLite does not wait for a lock here, so this does."""
    deadline = time.monotonic() + busy_seconds
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
    """Refuse another program's database, and one that is ahead of this program."""
    # In this order: between the two another process may turn an empty file into a store.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    known = connection.execute("PRAGMA application_id").fetchone()[0]
    if known not in {0, APPLICATION_ID} or (known == 0 and tables):
        raise StoreError(
            f"{path} is a database of another program. Set traces.path to another file."
        )
    if (version := _version(connection)) > len(MIGRATIONS):
        raise StoreError(
            f"{path} comes from a newer timestep (version {version} of the tables, this one "
            f"knows {len(MIGRATIONS)}). Install that one, or name another file in traces.path."
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
