"""``timestep sessions``: list the conversations that are kept on this machine.

They are read from the file of the SDK's ``SQLiteSession``, without importing the SDK.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import platformdirs

from timestep.cli.output import json_option, print_aside, print_json, print_rows
from timestep.traces.conversation import question
from timestep.traces.text import one_line

LAST = "last"
"""The conversation without a name of its own; the next one takes its place."""
_MOST_WORDS = 40
_SESSIONS = """
    SELECT DISTINCT session_id, COUNT(*) OVER own, FIRST_VALUE(message_data) OVER own,
        LAST_VALUE(created_at) OVER own, MAX(id) OVER own AS newest
    FROM agent_messages WHERE json_extract(message_data, '$.role') = 'user'
    WINDOW own AS (
        PARTITION BY session_id ORDER BY id
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
    ORDER BY newest DESC
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation that is kept."""

    name: str  # what `--session` calls it
    messages: int  # how many messages of the user it holds
    first: str  # the first of them
    asked_at: float  # when the last of them was sent, in seconds since 1970


@click.command()
@json_option
def sessions(*, as_json: bool) -> None:
    """List the conversations that are kept, newest first."""
    found = kept_sessions()
    if as_json:
        print_json([asdict(session) for session in found])
    elif found:
        rows = [
            [
                each.name,
                f"{each.messages} message{'' if each.messages == 1 else 's'}",
                f"{datetime.fromtimestamp(each.asked_at).astimezone():%Y-%m-%d %H:%M}",
                one_line(each.first, _MOST_WORDS),
            ]
            for each in found
        ]
        print_rows(rows)
    else:
        print_aside("No conversations. 'timestep run --session NAME' keeps one.")


def sessions_file() -> Path:
    """Return the path of the file that holds the conversations. It may not exist."""
    return platformdirs.user_data_path("timestep") / "sessions.db"


def kept_sessions() -> list[Session]:
    """Return the conversations, the one with the newest message first."""
    path = sessions_file()
    if not path.exists() or not path.stat().st_size:
        return []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(_SESSIONS).fetchall()
    except sqlite3.Error as exc:
        raise unusable(exc) from exc
    return [
        Session(
            name,
            messages,
            question([json.loads(first)]),
            datetime.fromisoformat(asked_at).replace(tzinfo=UTC).timestamp(),
        )
        for name, messages, first, asked_at, _ in found
    ]


def last_session() -> str:
    """Return the name of the conversation with the newest message."""
    found = kept_sessions()
    if not found:
        raise click.ClickException("There is no conversation to continue.")
    return found[0].name


def unusable(error: Exception) -> click.ClickException:
    """Return the error of a command for *error*, which the file of the conversations caused."""
    return click.ClickException(
        f"The conversations in {sessions_file()} cannot be used: {error}. Move the file away "
        "to start over, or name a folder that can be written in XDG_DATA_HOME."
    )
