"""What was said so far; under a name it is kept on this machine."""

import sqlite3
from pathlib import Path

import click
import platformdirs
from agents import RunResultStreaming, SQLiteSession, ToolApprovalItem, TResponseInputItem


class Conversation:
    """The items of a conversation, oldest first.

    Args:
        items: What was said before.
        session: Where every change is kept; None to forget all at the end.
    """

    def __init__(
        self, items: list[TResponseInputItem], session: SQLiteSession | None = None
    ) -> None:
        self.items = items
        self._session = session

    async def extend(self, items: list[TResponseInputItem]) -> None:
        """Add what was said now."""
        self.items += items
        if self._session is not None:
            await self._session.add_items(items)

    async def undo(self) -> TResponseInputItem | None:
        """Take back the last thing the user said, with all that followed; None without one."""
        starts = [index for index, item in enumerate(self.items) if item.get("role") == "user"]
        if not starts:
            return None
        taken = self.items[starts[-1] :]
        del self.items[starts[-1] :]
        if self._session is not None:
            for _ in taken:
                await self._session.pop_item()
        return taken[0]

    def close(self) -> None:
        """Let go of the file."""
        if self._session is not None:
            self._session.close()


def said(result: RunResultStreaming) -> list[TResponseInputItem]:
    """All that followed the question; a handoff may have changed what the agents see of it."""
    return [
        item.to_input_item() for item in result.new_items if not isinstance(item, ToolApprovalItem)
    ]


def data_file(name: str) -> Path:
    """The file *name* among the user's data; a new one is private."""
    path = platformdirs.user_data_path("timestep") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path


async def load_conversation(name: str | None) -> Conversation:
    """The conversation called *name*, to be closed; or a new one that is not kept.

    Raises:
        ClickException: The file of conversations cannot be used.
    """
    if name is None:
        return Conversation([])
    try:
        session = SQLiteSession(name, data_file("sessions.db"))
        return Conversation(await session.get_items(), session)
    except (OSError, sqlite3.Error) as exc:
        raise click.ClickException(
            f"The conversations in {platformdirs.user_data_path('timestep') / 'sessions.db'} "
            f"cannot be used: {exc}. Move the file away to begin anew."
        ) from exc
