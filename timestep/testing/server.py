"""FakeOllama: an Ollama server as a test scripts it."""

from pathlib import Path
from typing import Any

from timestep.testing.catalog import Model
from timestep.testing.endpoints import Endpoints
from timestep.testing.replies import Reply
from timestep.testing.scripted import ScriptedServer


class FakeOllama(ScriptedServer):
    """A real HTTP server on loopback that plays an Ollama server as a test scripts it.

    Use it as a context manager, plain or async. It listens on a port of its own, answers in a
    thread of its own, and sends what a real server sends, down to the headers, the order of
    keys and the format of numbers. Replies are queued and served in order.

        with FakeOllama() as fake:
            fake.reply("Hello!")
            ...  # point a client at fake.url
            assert fake.chats[0]["messages"][-1]["content"] == "Hi"

    Args:
        strict: Whether leaving the context raises what :meth:`verify` finds.
        recordings: The directory in which :meth:`replay` looks names up.
    """

    _kind = Reply

    def __init__(self, *, strict: bool = True, recordings: Path | str | None = None) -> None:
        self._endpoints = Endpoints()
        super().__init__(self._endpoints, strict=strict, recordings=recordings)

    @property
    def base_url(self) -> str:
        """The same as :attr:`url`."""
        return self.url

    def add_model(self, name: str, **fields: Any) -> None:
        """Have a model called *name*; from the first one on, only added and pulled ones exist.

        Before, every name is a model with the capabilities completion, tools, thinking and
        vision, and ``/api/tags`` lists none.

        Args:
            name: As in ``ollama list``; without a tag it is ``:latest``.
            **fields: The other fields of :class:`Model`, such as ``capabilities`` and
                ``context_length``.
        """
        self._endpoints.catalog.add(Model(name, **fields))
