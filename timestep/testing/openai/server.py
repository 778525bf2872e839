"""FakeOpenAI: a server that speaks OpenAI's API as a test scripts it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

from timestep.testing.answers import Answer, SaidFields
from timestep.testing.http import Request
from timestep.testing.openai.endpoints import OpenAIEndpoints
from timestep.testing.openai.replies import ChatReply
from timestep.testing.scripted import Faults, ScriptedServer


class ChatReplyFields(SaidFields, total=False):
    """The keywords of :meth:`FakeOpenAI.reply`; :class:`ChatReply` tells what they mean."""

    refusal: str
    call_pieces: int
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int | None
    usage: Mapping[str, Any] | None
    thinking_field: str
    done: bool


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

    def reply(
        self,
        text: "str | Answer | Callable[[Request], str | Answer]" = "",
        *,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
        **fields: Unpack[ChatReplyFields],
    ) -> None:
        """Queue an answer to ``/chat/completions`` or ``/responses``, whichever is asked first.

        The arguments are those of :meth:`FakeOllama.reply`, with :class:`ChatReply` for its reply.
        """
        self._reply(text, ChatReply, model=model, times=times, fault=fault, fields=fields)

    def add_model(self, name: str) -> None:
        """Have a model called *name*; from the first one on, only added ones exist.

        Before, every name is a model, and ``/models`` lists none.
        """
        self._endpoints.models.append(name)
