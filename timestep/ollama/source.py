"""The interface of whatever runs a model's chats: a server, a pool or a given client."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from timestep.errors import OllamaError
from timestep.net.origin import Origin
from timestep.net.wire_bytes import WireBytes
from timestep.ollama.endpoint import Endpoint


class ChatSource(Protocol):
    """Anything that can run a chat: a `Wire`, a pool of them, or a foreign client's stand-in."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the requests go."""
        ...

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "Chat":
        """Return one exchange of ``POST /api/chat``; nothing happens before it is iterated."""
        ...

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """Return what of a request does not reach the server, a phrase each."""
        ...

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return who is asked for *model*, with *headers* beside the endpoint's own."""
        ...


class Chat(Protocol):
    """The pieces of one answer, bytes or parsed chunks, in order."""

    @property
    def host(self) -> str | None:
        """The scheme and authority of the server; None where it is not known."""
        ...

    @property
    def origin(self) -> Origin:
        """Who is asked, for error texts."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes | list[Any]]:
        """Iterate the pieces; raises errors of the tree."""
        ...

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put what goes over the wire into *kept* as well. Call it before iterating."""
        ...

    def note_error(self, error: OllamaError) -> None:
        """Hear of *error*, which the pieces turned out to be or which iterating raised."""
        ...

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""
        ...
