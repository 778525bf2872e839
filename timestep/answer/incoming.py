"""An answer that is coming in from a server."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any

from timestep.answer.chunks import Chunk
from timestep.errors import TimestepError
from timestep.net.origin import Origin
from timestep.net.wire_bytes import WireBytes


class Incoming(ABC):
    """Iterate the pieces of one answer, read each into chunks, then close it.

    Attributes:
        origin: Who answers, for error texts. It may change until the first piece is there.
        host: The scheme and authority of the server, where it is known.
    """

    def __init__(self, origin: Origin, host: str | None = None) -> None:
        self.origin = origin
        self.host = host

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate the pieces in order; raises errors of the tree."""

    @abstractmethod
    def read(self, piece: Any) -> list[Chunk]:
        """Return the chunks that *piece* completes."""

    @abstractmethod
    def end(self) -> list[Chunk]:
        """Return the chunks of what is left when there are no more pieces."""

    @abstractmethod
    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""

    @property
    def ignored(self) -> Sequence[str]:
        """What was left out of the answer so far, a phrase each."""
        return ()

    def rescue(self, error: TimestepError) -> list[Chunk]:
        """Return the last chunks of an answer that is whole in spite of *error*, or raise *error*."""
        raise error

    def keep_bytes(self, kept: WireBytes) -> None:  # noqa: B027 - only a wire has the bytes
        """Put what goes over the wire into *kept* as well. Call it before iterating."""
