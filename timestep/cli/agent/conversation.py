"""The items of a conversation, which are kept on this machine under the name of a session."""

import asyncio
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agents import RunResultStreaming, SQLiteSession, ToolApprovalItem, TResponseInputItem

from timestep.cli.agent.setup import RunSetup
from timestep.cli.event_loop import impatient_runner
from timestep.cli.sessions import LAST, sessions_file, unusable


class Conversation:
    """The items, oldest first. *session* keeps them, and replaces what it had if *is_new*."""

    def __init__(
        self,
        items: list[TResponseInputItem],
        session: SQLiteSession | None = None,
        *,
        is_new: bool = False,
    ) -> None:
        self.items = items
        self._session = session
        self._is_new = is_new

    async def extend(self, items: list[TResponseInputItem]) -> None:
        """Add *items*."""
        self.items += items
        if self._session is None:
            return
        try:
            if self._is_new:
                await self._session.clear_session()
            await self._session.add_items(items)
        except sqlite3.Error:
            if not self._is_new:
                raise
            self._session = None  # the user did not ask to keep it
        self._is_new = False

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

    async def clear(self) -> None:
        """Remove every item."""
        if self._session is not None and self.items:
            await self._session.clear_session()
        self.items = []

    def close(self) -> None:
        """Close the file of the session."""
        if self._session is not None:
            self._session.close()


def new_items(result: RunResultStreaming) -> list[TResponseInputItem]:
    """Return every item after the question, also those that a handoff hides from later agents."""
    return [
        item.to_input_item() for item in result.new_items if not isinstance(item, ToolApprovalItem)
    ]


def private_file(path: Path) -> Path:
    """Create *path*, a file that only the user can read, unless it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path


@contextmanager
def conversing(setup: RunSetup) -> Generator[tuple[asyncio.Runner, Conversation]]:
    """Yield an event loop and the conversation to continue. The provider is closed at the end."""
    with impatient_runner() as loop:
        keeps_last = setup.settings.traces.enabled
        conversation = loop.run(_load(setup.session, keeps_last=keeps_last))
        try:
            yield loop, conversation
        finally:
            conversation.close()
            loop.run(setup.provider.aclose())


async def _load(name: str | None, *, keeps_last: bool) -> Conversation:
    """Return the conversation called *name*, or a new one, which *keeps_last* keeps as the last."""
    try:
        if name is not None:
            session = _open(name)
            return Conversation(await session.get_items(), session)
    except (OSError, sqlite3.Error) as exc:
        raise unusable(exc) from exc
    if not keeps_last:
        return Conversation([])
    try:
        return Conversation([], _open(LAST), is_new=True)
    except (OSError, sqlite3.Error):
        return Conversation([])  # its answer needs no file


def _open(name: str) -> SQLiteSession:
    return SQLiteSession(name, private_file(sessions_file()))
