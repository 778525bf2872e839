"""The items of a conversation. A conversation with a session's name is kept on this machine."""

import sqlite3
from pathlib import Path

import click
import platformdirs
from agents import RunResultStreaming, SQLiteSession, ToolApprovalItem, TResponseInputItem


class Conversation:
    """The items of a conversation, oldest first.

    Args:
        items: The items so far.
        session: The session that keeps every change; None to keep nothing.
    """

    def __init__(
        self, items: list[TResponseInputItem], session: SQLiteSession | None = None
    ) -> None:
        self.items = items
        self._session = session

    async def extend(self, items: list[TResponseInputItem]) -> None:
        """Add *items*."""
        self.items += items
        if self._session is not None:
            await self._session.add_items(items)

    async def undo(self) -> TResponseInputItem | None:
        """Remove the user's last message and all that followed. Return the message, or None."""
        starts = [index for index, item in enumerate(self.items) if item.get("role") == "user"]
        if not starts:
            return None
        removed = self.items[starts[-1] :]
        del self.items[starts[-1] :]
        if self._session is not None:
            for _ in removed:
                await self._session.pop_item()
        return removed[0]

    def close(self) -> None:
        """Close the file of the session."""
        if self._session is not None:
            self._session.close()


def new_items(result: RunResultStreaming) -> list[TResponseInputItem]:
    """Return every item after the question, also those that a handoff hides from later agents."""
    return [
        item.to_input_item() for item in result.new_items if not isinstance(item, ToolApprovalItem)
    ]


def data_file(name: str) -> Path:
    """Return the path of *name* in the user's data directory. A new file is private."""
    path = platformdirs.user_data_path("timestep") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path


async def load_conversation(name: str | None) -> Conversation:
    """Return the conversation called *name*, or a new one that is not kept. Close it afterwards.

    Raises:
        ClickException: The file of the conversations cannot be used.
    """
    if name is None:
        return Conversation([])
    try:
        session = SQLiteSession(name, data_file("sessions.db"))
        return Conversation(await session.get_items(), session)
    except (OSError, sqlite3.Error) as exc:
        raise click.ClickException(
            f"The conversations in {platformdirs.user_data_path('timestep') / 'sessions.db'} "
            f"cannot be used: {exc}. Move the file away to start over."
        ) from exc
