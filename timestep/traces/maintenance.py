"""Checks a trace store, and deletes old runs from it."""

import hashlib
import sqlite3
from contextlib import closing

from timestep.traces.schema import statements
from timestep.traces.transactions import transaction

_ORPHANS = {
    "span ends without a beginning": (
        "SELECT count(*) FROM span_ends e WHERE NOT EXISTS "
        "(SELECT 1 FROM spans s WHERE s.trace_id = e.trace_id AND s.span_id = e.span_id)"
    ),
    "spans without a run": (
        "SELECT count(*) FROM spans WHERE trace_id NOT IN (SELECT trace_id FROM traces)"
    ),
    "exchanges without a span": (
        "SELECT count(*) FROM exchanges WHERE span_end NOT IN (SELECT id FROM span_ends)"
    ),
    "exchanges without a body": (
        "SELECT count(*) FROM exchanges WHERE request NOT IN (SELECT hash FROM bodies) "
        "OR response NOT IN (SELECT hash FROM bodies)"
    ),
    "texts without a span": (
        "SELECT count(*) FROM texts WHERE rowid NOT IN (SELECT id FROM span_ends)"
    ),
}

_PRUNE = """
CREATE TEMP TABLE old AS SELECT trace_id FROM main.traces WHERE started_at < :before;
INSERT OR IGNORE INTO deleted (trace_id) SELECT trace_id FROM old
    WHERE trace_id NOT IN (SELECT trace_id FROM trace_ends);
DELETE FROM texts WHERE rowid IN
    (SELECT id FROM span_ends WHERE trace_id IN (SELECT trace_id FROM old));
DELETE FROM exchanges WHERE span_end IN
    (SELECT id FROM span_ends WHERE trace_id IN (SELECT trace_id FROM old));
DELETE FROM span_ends WHERE trace_id IN (SELECT trace_id FROM old);
DELETE FROM spans WHERE trace_id IN (SELECT trace_id FROM old);
DELETE FROM trace_ends WHERE trace_id IN (SELECT trace_id FROM old);
DELETE FROM traces WHERE trace_id IN (SELECT trace_id FROM old);
DELETE FROM bodies WHERE hash NOT IN (SELECT request FROM exchanges)
    AND hash NOT IN (SELECT response FROM exchanges);
DROP TABLE old;
"""


def problems(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the store, a sentence each; empty when it is sound."""
    found = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    try:
        _check_index(connection)
    except sqlite3.DatabaseError as exc:
        found.append(f"the search index: {exc}")
    for what, query in _ORPHANS.items():
        count = connection.execute(query).fetchone()[0]
        if count:
            found.append(f"{count} {what}")
    for digest, body in connection.execute("SELECT hash, body FROM bodies"):
        if not isinstance(body, bytes) or hashlib.sha256(body).hexdigest() != digest:
            found.append(f"the body {str(digest)[:12]}… is not the one that was stored")
    for lost, reason in connection.execute("SELECT events, reason FROM losses ORDER BY id"):
        found.append(describe_loss(lost, reason))
    return found


def describe_loss(count: int, reason: str) -> str:
    """Return how `problems` says that *count* events were lost."""
    lost = "1 event was" if count == 1 else f"{count} events were"
    return f"{lost} lost while recording: {reason}"


def _check_index(connection: sqlite3.Connection) -> None:
    check = "INSERT INTO texts (texts) VALUES ('integrity-check')"
    connection.execute("PRAGMA busy_timeout = 1000")
    try:
        connection.execute(check)
    except sqlite3.DatabaseError as exc:
        if not exc.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_BUSY")):
            raise
        # SQLite counts this check as a write, so a file that cannot be written is checked in a copy.
        with closing(sqlite3.connect("")) as copy:
            connection.backup(copy)
            copy.execute(check)


def prune(connection: sqlite3.Connection, before: float) -> int:
    """Delete the runs that began before the Unix time *before*; return how many."""
    oldest = connection.execute("SELECT min(started_at) FROM traces").fetchone()[0]
    if oldest is None or oldest >= before:
        return 0
    with transaction(connection):
        count = connection.execute(
            "SELECT count(*) FROM traces WHERE started_at < ?", (before,)
        ).fetchone()[0]
        for statement in statements(_PRUNE):
            connection.execute(statement, {"before": before})
    return int(count)
