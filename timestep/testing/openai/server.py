"""FakeOpenAI: a server that speaks OpenAI's API as a test scripts it."""

from pathlib import Path

from timestep.testing.openai.endpoints import OpenAIEndpoints
from timestep.testing.openai.replies import ChatReply
from timestep.testing.scripted import ScriptedServer


class FakeOpenAI(ScriptedServer):
    """A real HTTP server on loopback that speaks OpenAI's API as a test scripts it.

    It answers ``/chat/completions`` and ``/responses``, streamed and whole, and ``/models``. Use it
    as a context manager, plain or async. Replies are queued and served in order.

        with FakeOpenAI() as fake:
            fake.reply("Hello!")
            ...  # point a client at fake.base_url
            assert fake.chats[0]["messages"][-1]["content"] == "Hi"

    Args:
        strict: Whether leaving the context raises what :meth:`verify` finds.
        recordings: The directory in which :meth:`replay` looks names up.
        path: Where the API begins, such as ``/v1``, ``/api/v1`` or an empty text.
    """

    _kind = ChatReply

    def __init__(
        self, *, strict: bool = True, recordings: Path | str | None = None, path: str = "/v1"
    ) -> None:
        self._path = path
        self._endpoints = OpenAIEndpoints(path)
        super().__init__(self._endpoints, strict=strict, recordings=recordings)

    @property
    def base_url(self) -> str:
        """What clients of OpenAI call ``base_url``."""
        return f"{self.url}{self._path}"

    def add_model(self, name: str) -> None:
        """Have a model called *name*; from the first one on, only added ones exist.

        Before, every name is a model, and ``/models`` lists none.
        """
        self._endpoints.models.append(name)
