"""Connections to the file of a trace store."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from timestep.traces.errors import StoreError
from timestep.traces.schema import APPLICATION_ID, VERSION, create, version
from timestep.traces.transactions import is_locked

BUSY_SECONDS = 30.0
"""How long a command waits for another process's transaction."""

_READ_SECONDS = 5.0
"""How long a reader waits; in WAL mode it hardly ever has to."""


def connect(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Return a connection to the store at *path*, created if need be. Any thread may use it.

    It waits *busy_seconds* for another process's transaction.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)  # prompts are private
        connection = _open(path, "mode=rw", busy_seconds)
        with _closed_on_error(connection):
            _check_ours(connection, path)  # before anything changes
            # Model answers are large: fewer, bigger pages and rarer checkpoints halve a commit.
            connection.execute("PRAGMA page_size = 8192")  # of a new file
            connection.execute("PRAGMA wal_autocheckpoint = 2000")
            _use_wal(connection, busy_seconds)
            connection.execute("PRAGMA synchronous = NORMAL")
            if not version(connection):
                create(connection)
        return connection


def connect_to_read(path: Path) -> sqlite3.Connection | None:
    """Return a connection that reads the store at *path*, or None when it does not exist yet.

    Neither the file nor its directory has to be writable, and another program's file is not
    touched. Any thread may use it.
    """
    with _explained(path):
        if not path.exists():
            return None
        connection = _open_to_read(path)
        with _closed_on_error(connection):
            _check_ours(connection, path)
            found = version(connection)
        if found:
            return connection
        connection.close()
    return None


def connect_empty() -> sqlite3.Connection:
    """Return a connection to a store in memory that holds no runs; any thread may use it."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    create(connection)
    return connection


def file_id(path: Path) -> tuple[int, int] | None:
    """Return which file lies at *path*, or None: a connection outlives a deleted file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _explained(path: Path) -> Generator[None]:
    """Raise what goes wrong with the file at *path* as a `StoreError`."""
    try:
        yield
    except (OSError, ValueError, sqlite3.Error) as exc:  # ValueError: a null byte
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
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text  # a damaged text must not hide the others
    return connection


def _text(stored: bytes) -> str:
    return stored.decode(errors="replace")


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that has read from the file at *path*."""
    # SQLite falls back to reading where it may not write.
    connection = _open(path, "mode=rw", _READ_SECONDS)
    with _closed_on_error(connection):
        try:
            version(connection)
        except sqlite3.OperationalError as exc:
            # Without a -wal file, the store can be read without the files SQLite keeps beside it.
            wal = path.with_name(f"{path.name}-wal")
            has_wal = wal.exists() and wal.stat().st_size > 0
            if not exc.sqlite_errorname.startswith(_NOT_WRITABLE) or has_wal:
                raise
        else:
            return connection
    connection.close()
    return _open(path, "mode=ro&immutable=1")


_NOT_WRITABLE = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_FULL")


def _use_wal(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to WAL. SQLite does not wait for a lock here, so this loop does."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if not is_locked(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's database, and one with other tables."""
    # In this order: between the two another process may turn an empty file into a store.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    known = connection.execute("PRAGMA application_id").fetchone()[0]
    if known not in {0, APPLICATION_ID} or (known == 0 and tables):
        raise StoreError(f"{path} is another program's database. Set traces.path to another file.")
    if (found := version(connection)) not in {0, VERSION}:
        raise StoreError(
            f"{path} comes from another timestep: its tables have version {found}, and this one "
            f"reads version {VERSION}. Update timestep, or name another file in traces.path."
        )
