"""A client for the SDK's `OpenAIChatCompletionsModel`, which would run half a call.

That model forgets why an answer ended. So its client reads the ends and the calls along, by the
rules for a wire of ours, and raises before the model has the last of an answer it must not run.
"""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from timestep.answer.chunks import Call, Chunk
from timestep.answer.outcome import refuse_cut_calls
from timestep.net.foreign import entries, mapping
from timestep.net.origin import Origin
from timestep.net.urls import authority
from timestep.openai.completion import Completion
from timestep.openai.failures import broken


def with_whole_calls(client: AsyncOpenAI) -> AsyncOpenAI:
    """Return *client*, whose chat completions are an error when a call in them may be half.

    Besides what *client* raises, a chat completion then raises:

    * `ModelOutputError`: the answer was cut, and has a call.
    * `BrokenAnswerError`: the answer has a call, and no end; or a stream has no choice, as when a
      server sends a document instead.
    * `OpenAIServerBusyError`: the server says that it gave up.
    """
    return cast("AsyncOpenAI", _Client(client))


class _Client:
    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._create))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def with_options(self, **options: Any) -> "_Client":
        """Return another client for the same server; the SDK makes one without retries."""
        return _Client(self._client.with_options(**options))

    async def _create(self, **fields: Any) -> Any:
        create = cast("Any", self._client.chat.completions.create)
        answer: Any = await create(**fields)
        url = str(self._client.base_url)
        ends = _Ends(Origin(fields.get("model"), authority(url)), url)
        if not isinstance(answer, ChatCompletion):
            return _Stream(answer, ends)
        ends.note(answer)
        ends.check()
        return answer


class _Stream:
    """Wraps *stream*: the caller gets its last chunk only when its calls are whole."""

    def __init__(self, stream: Any, ends: "_Ends") -> None:
        self._stream = stream
        self._ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        is_empty = True
        async for chunk in self._stream:
            is_empty = is_empty and not entries(chunk.choices)
            self._ends.note(chunk)
            yield chunk
        self._ends.check(is_stream=True, is_empty=is_empty)


class _Ends:
    """The calls and the end of one answer."""

    def __init__(self, origin: Origin, url: str) -> None:
        self._origin = origin
        self._completion = Completion(origin, url)

    def note(self, piece: Any) -> None:
        """Note what *piece*, a completion or a chunk of one, says of calls and the end."""
        for choice in entries(piece.choices)[:1]:
            said = getattr(choice, "delta", None) or getattr(choice, "message", None)
            has_call = getattr(said, "tool_calls", None) or getattr(said, "function_call", None)
            if choice.finish_reason or has_call:
                self._note(choice.to_dict())

    def _note(self, choice: dict[str, Any]) -> None:
        said = mapping(choice.get("delta") or choice.get("message"))
        calls = {name: said[name] for name in ("tool_calls", "function_call") if name in said}
        kept = {name: choice.get(name) for name in ("index", "finish_reason")}
        self._completion.add({"choices": [{**kept, "delta": calls}]}, [])

    def check(self, *, is_stream: bool = False, is_empty: bool = False) -> None:
        """Raise the error for a call that may be half, or a stream without a choice.

        A stream with a call and without a finish reason broke off.
        """
        if is_empty:
            raise broken("answered with nothing", self._origin)
        chunks: list[Chunk] = []
        self._completion.end(chunks)
        calls = [chunk for chunk in chunks if isinstance(chunk, Call)]
        reason = self._completion.reason
        if calls and is_stream and reason is None:
            raise broken("broke off its answer behind a call, which was not run", self._origin)
        refuse_cut_calls([call.name for call in calls], reason, self._origin)
