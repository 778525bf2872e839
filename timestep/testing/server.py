"""FakeOllama: an Ollama server as a test scripts it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from timestep.testing.answers import Answer, SaidFields
from timestep.testing.catalog import Model, SystemMessages
from timestep.testing.endpoints import Endpoints
from timestep.testing.http import Request
from timestep.testing.replies import Reply
from timestep.testing.scripted import Faults, ScriptedServer


class ReplyFields(SaidFields, total=False):
    """The keywords of :meth:`FakeOllama.reply`; :class:`Reply` tells what they mean."""

    calls_on_done: bool
    text_arguments: bool
    done_reason: str | None
    prompt_eval_count: int
    eval_count: int | None


class ModelFields(TypedDict, total=False):
    """The keywords of :meth:`FakeOllama.add_model`; :class:`Model` tells what they mean."""

    capabilities: Sequence[str]
    context_length: int
    window: int
    family: str
    size: int
    parameters: Mapping[str, Any]
    system: str
    system_messages: SystemMessages
    think_levels: bool
    needs_types: bool


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

    def __init__(self, *, strict: bool = True, recordings: Path | str | None = None) -> None:
        self._endpoints = Endpoints()
        super().__init__(self._endpoints, strict=strict, recordings=recordings)

    @property
    def base_url(self) -> str:
        """The same as :attr:`url`."""
        return self.url

    def reply(
        self,
        text: "str | Answer | Callable[[Request], str | Answer]" = "",
        *,
        model: str | None = None,
        times: int | None = 1,
        fault: Faults = (),
        **fields: Unpack[ReplyFields],
    ) -> None:
        """Queue an answer to ``/api/chat``.

        Args:
            text: What the model says; or a :class:`Reply`; or a function that takes the
                :class:`Request` and returns either, run in the server's thread.
            model: Only for requests that name this model; ``None`` is for all.
            times: How many requests get this answer; ``None`` is for any number.
            fault: What goes wrong while it is sent: one of the faults, or several.
            **fields: The other fields of :class:`Reply`, such as ``thinking``, ``tool_calls``,
                ``pieces`` and ``delay``.
        """
        self._reply(text, Reply, model=model, times=times, fault=fault, fields=fields)

    def add_model(self, name: str, **fields: Unpack[ModelFields]) -> None:
        """Have a model called *name*; from the first one on, only added and pulled ones exist.

        Before, every name is a model with the capabilities completion, tools, thinking and
        vision, and ``/api/tags`` lists none.

        Args:
            name: As in ``ollama list``; without a tag it is ``:latest``.
            **fields: The other fields of :class:`Model`, such as ``capabilities`` and
                ``context_length``.
        """
        self._endpoints.catalog.add(Model(name, **fields))
