"""Whatever runs a model's chats: a server, a pool or a given client."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

from timestep.errors import OllamaError
from timestep.net.origin import Origin
from timestep.net.wire_bytes import WireBytes
from timestep.ollama.endpoint import Endpoint


class ChatSource(ABC):
    """Anything that can run a chat: a `Wire`, a pool of them, or a foreign client's stand-in."""

    endpoint: Endpoint  # where the requests go

    @abstractmethod
    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "Chat":
        """Return one exchange of ``POST /api/chat``; nothing happens before it is iterated."""

    @abstractmethod
    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return who is asked for *model*, with *headers* beside the endpoint's own."""

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """Return what of a request does not reach the server, a phrase each."""
        return []


class Chat(ABC):
    """The pieces of one answer, bytes or parsed chunks, in order."""

    origin: Origin  # who is asked, for error texts
    host: str | None = None  # the scheme and authority of the server, where it is known

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes | list[Any]]:
        """Iterate the pieces; raises errors of the tree."""

    @abstractmethod
    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""

    def keep_bytes(self, kept: WireBytes) -> None:  # noqa: B027 - only a wire has the bytes
        """Put what goes over the wire into *kept* as well. Call it before iterating."""

    def note_error(self, error: OllamaError) -> None:  # noqa: B027 - only a pool has a choice
        """Hear of *error*, which the pieces turned out to be or which iterating raised."""
