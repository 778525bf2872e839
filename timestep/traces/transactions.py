"""Transactions on a SQLite connection."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Commit what the block writes, or nothing of it when the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it
            connection.execute("ROLLBACK")
        raise


def is_locked(exc: BaseException | None) -> bool:
    """Return True when *exc* says that another process is using the file just now."""
    return isinstance(exc, sqlite3.Error) and exc.sqlite_errorcode & 0xFF in _LOCKED


_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
