"""The connection that reads a store, opened when it is needed, and again when the file is replaced."""

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from timestep.net.forks import hold_during_forks, keep_for_parent
from timestep.traces.connections import connect_empty, connect_to_read, file_id
from timestep.traces.errors import StoreError

_T = TypeVar("_T")
_FORK_SECONDS = 5.0


class Reading:
    """Runs queries on the file at *path*, from any thread, one at a time."""

    def __init__(self, path: Path | str) -> None:
        self.path = _absolute(path)
        self.is_at_rest = False
        self._opened: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._using = threading.RLock()  # a signal may close what it interrupts
        hold_during_forks(self)

    def run(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return what *query* finds; in an empty store while there is no file."""
        with self._using:
            connection = self._connect()
            try:
                return query(connection)
            # A damaged file holds values of any type.
            except (sqlite3.Error, ValueError, TypeError) as exc:
                raise StoreError(
                    f"{self.path} cannot be read: {exc}. 'timestep traces verify' says more."
                ) from exc
            finally:
                if not os.access(self.path.parent, os.W_OK):
                    self._disconnect()  # it may have been opened as a file that never changes

    def _connect(self) -> sqlite3.Connection:
        """Return the reading connection, or one to an empty store while there is no file."""
        if file_id(self.path) != self._opened:
            self._disconnect()
        if self._connection is None:
            found = connect_to_read(self.path)
            self._opened = None if found is None else file_id(self.path)
            self._connection = found or connect_empty()
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        with self._using:
            self._disconnect()

    # Forks

    def hold(self) -> None:
        """Come to rest without a connection while the process forks."""
        self.is_at_rest = self._using.acquire(timeout=_FORK_SECONDS)
        if self.is_at_rest:
            self._disconnect()

    def release(self) -> None:
        """Go on after the process forked."""
        if self.is_at_rest:
            self._using.release()

    def forget_connections(self) -> None:
        """Begin without a connection in a forked process."""
        self._using = threading.RLock()
        keep_for_parent(self._connection)
        self._connection = None

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _absolute(path: Path | str) -> Path:
    """Return *path* without links, so that it stays the same when the program changes directory."""
    try:
        return Path(os.path.realpath(Path(path).expanduser()))
    except ValueError as exc:
        raise StoreError(f"{str(path)!r} cannot name a file: {exc}.") from exc
