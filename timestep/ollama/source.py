"""The interface of what answers chats: one server, a pool, or a client the caller passed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from timestep.answer.chunks import Chunk
from timestep.answer.incoming import Incoming
from timestep.errors import ConfigurationError
from timestep.net.origin import Origin
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.lines import ChatLines


class ChatSource(ABC):
    """Anything that can run a chat: a `Wire`, a pool of them, or a foreign client's stand-in."""

    endpoint: Endpoint  # where the requests go
    can_ask = True  # whether it has more than the chats

    @abstractmethod
    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "Chat":
        """Return one exchange of ``POST /api/chat``; nothing happens before it is iterated."""

    async def ask(
        self, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[Any, Origin]:
        """Return the JSON that ``POST path`` answers to *body*, ``GET`` without one; and who answered.

        Raises:
            ConfigurationError: Only chats can be asked for.
            OllamaError: The server cannot be reached, or answers something else.
        """
        raise ConfigurationError(
            "render() needs a direct connection, and your ollama_client has only its own chat(). "
            "Pass base_url, or a plain ollama.AsyncClient."
        )

    @abstractmethod
    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return who is asked for *model*, with *headers* beside the endpoint's own."""

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """Return what of a request does not reach the server, a phrase each."""
        return []


class Chat(Incoming):
    """The answer to one chat, in bytes or in lines that a foreign client has parsed."""

    def __init__(self, origin: Origin, host: str | None = None) -> None:
        super().__init__(origin, host)
        self._lines = ChatLines(origin)

    def read(self, piece: bytes | list[Any]) -> list[Chunk]:
        """Return the chunks of the lines that *piece* completes."""
        lines = self._lines
        lines.origin = self.origin
        return lines.feed(piece) if isinstance(piece, bytes) else lines.feed_parsed(piece)

    def end(self) -> list[Chunk]:
        """Return the chunks of what is left when there are no more pieces."""
        self._lines.origin = self.origin
        return self._lines.end_of_body()
