"""Holds the SDK's models to the rules for a wire of ours: they would run half a call.

A model of the SDK forgets why an answer ended. One method of it sees the end, and that method is not
public. This module is the only one that knows it. When a setting or an answer has a shape that the SDK
does not expect, such a model raises errors of Python. This module turns them into errors of timestep.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from json import JSONDecodeError
from typing import Any, TypeVar, cast

import httpx2
from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from openai import APIError
from pydantic import ValidationError

from timestep.answer.chunks import Call, Chunk
from timestep.answer.outcome import refuse_cut_calls
from timestep.answer.span import rename_span
from timestep.errors import BrokenAnswerError, TimestepError, UnsupportedInputError
from timestep.net.connection import Translated, drop_frames
from timestep.net.failure_words import httpx_error
from timestep.net.json_parts import entries, mapping
from timestep.net.logs import masked_logs, with_masked_logs
from timestep.net.origin import Origin
from timestep.net.secrets import secrets_in
from timestep.net.urls import authority
from timestep.openai.completion import Completion
from timestep.openai.wire_errors import OpenAIWireErrors, broken, mask_error, of_both_trees

_FETCHES = ("_fetch_response", "_fetch_chat_response", "_fetch_responses_response")
_ODD = (AttributeError, LookupError, TypeError, ValueError)
"""What Python raises for a value of another shape."""
_CALLS = ("function_call", "custom_tool_call")
_HALF = ("in_progress", "incomplete")
_LAST = ("response.completed", "response.failed", "response.incomplete", "error", "response.error")
"""The events that end a stream of the Responses API."""
_FAILURES = ("error", "response.failed")
"""The events that hold the words of a server that failed."""

ModelT = TypeVar("ModelT", bound=Model)


def with_whole_calls(model: ModelT, secrets: Iterable[str] = ()) -> ModelT:
    """Return *model*, which now raises an error for an answer with a call that may be half.

    Besides what the SDK's model raises, it then raises:

    * `ModelOutputError`: the answer was cut, and has a call.
    * `BrokenAnswerError`: the answer has a call, and no end; or it cannot be read; or a stream has no
      choice, as when a server sends a document instead; or a stream of the Responses API breaks off.
    * `OpenAIServerBusyError`: the server says that it gave up.
    * `UnsupportedInputError`: the client cannot send what the request holds.

    No error shows *secrets*, or a key of the model's client. Traces call the model what its
    ``traced_as`` says. A model that is not the SDK's stays as it is.
    """
    fetches = {name: fetch for name in _FETCHES if (fetch := getattr(model, name, None))}
    if fetches and fetches.keys().isdisjoint(own := vars(model)):
        origin = _origin(model, tuple(secrets))
        own["traced_as"] = origin.model
        own |= {name: partial(_fetched, fetch, model, origin) for name, fetch in fetches.items()}
        own["get_response"] = partial(_answered, model.get_response, model, origin)
        own["stream_response"] = partial(_streamed, model.stream_response, model, origin)
    return model


def refuse_half(response: Mapping[str, Any], host: str) -> None:
    """Refuse the calls of *response*, which ended as completed, if it says that it was cut."""
    calls = [item for item in entries(response.get("output")) if item.get("type") in _CALLS]
    details = mapping(response.get("incomplete_details"))
    is_cut = response.get("status") == "incomplete" or bool(details)
    if is_cut or any(call.get("status") in _HALF for call in calls):
        reason = "content_filter" if details.get("reason") == "content_filter" else "length"
        origin = Origin(response.get("model"), host)
        refuse_cut_calls([call.get("name") for call in calls], reason, origin)


def _origin(model: Any, secrets: tuple[str, ...]) -> Origin:
    url = getattr(getattr(model, "_client", model), "base_url", None)
    return Origin(model.model, authority(str(url)) if url else "The server", secrets)


def _with_keys(origin: Origin, model: Model) -> Origin:
    """Return *origin* with the secrets of the client of *model*, which may be the application's."""
    client = getattr(model, "_client", None)
    headers = mapping(getattr(client, "default_headers", None))
    sent = {**headers, "authorization": getattr(client, "api_key", None)}
    keys = secrets_in({name: text for name, text in sent.items() if isinstance(text, str)})
    return replace(origin, secrets=(*origin.secrets, *keys))


async def _fetched(
    fetch: Callable[..., Any], model: Model, origin: Origin, *call: Any, **state: Any
) -> Any:
    """Return what *fetch* returns: an answer or its events, or a pair with a stream of chunks."""
    try:
        host = origin.host if "://" in origin.host else None
        rename_span(vars(model)["traced_as"], origin.model, host)
        with Translated(partial(_fetch_error, model=model, origin=origin)):
            answer = await fetch(*call, **state)
        return _checked(answer, origin)
    finally:
        del call, state  # a crash report shows variables, and headers may hold a key


def _fetch_error(exc: Exception, model: Model, origin: Origin) -> Exception | None:
    if isinstance(exc, _ODD) and not _is_of_an_answer(exc):
        return _unsendable(exc, origin)
    return _answer_error(exc, model, origin)


def _checked(answer: Any, origin: Origin) -> Any:
    if isinstance(answer, tuple):
        response, stream = cast("tuple[Any, Any]", answer)
        return response, _Stream(stream, _Ends(origin))
    if hasattr(answer, "output"):
        refuse_half(answer.model_dump(warnings=False), origin.host)
    elif hasattr(answer, "choices"):
        ends = _Ends(origin)
        ends.note(answer)
        ends.check()
    elif hasattr(answer, "__aiter__"):
        return _Events(answer, origin)
    return answer


async def _answered(
    ask: Callable[..., Any], model: Model, origin: Origin, *call: Any, **state: Any
) -> ModelResponse:
    try:
        hide = _with_keys(origin, model).hide
        with masked_logs(hide), Translated(partial(_answer_error, model=model, origin=origin)):
            return cast("ModelResponse", await ask(*call, **state))
    finally:
        del call, state  # as above


async def _streamed(
    ask: Callable[..., Any], model: Model, origin: Origin, *call: Any, **state: Any
) -> AsyncIterator[TResponseStreamEvent]:
    try:
        hide = _with_keys(origin, model).hide
        with Translated(partial(_answer_error, model=model, origin=origin)):
            async with (
                aclosing(ask(*call, **state)) as unmasked,
                aclosing(with_masked_logs(unmasked, hide)) as events,
            ):
                async for event in events:
                    if event.type == "response.completed":
                        refuse_half(event.response.model_dump(warnings=False), origin.host)
                    is_failure = event.type in _FAILURES
                    yield _masked(event, _with_keys(origin, model)) if is_failure else event
    finally:
        del call, state  # as above


def _masked(event: TResponseStreamEvent, origin: Origin) -> TResponseStreamEvent:
    said = event.to_dict()
    masked = cast("dict[str, Any]", origin.masked(said))
    return event if masked == said else type(event).construct(**masked)


def _answer_error(exc: Exception, model: Model, origin: Origin) -> Exception | None:
    if isinstance(exc, APIError) and (error := of_both_trees(exc)) is not exc:
        return error
    # openai's client lets the first through in a stream, and the second always.
    if isinstance(exc, httpx2.HTTPError) or _is_of_another_loop(exc):
        return OpenAIWireErrors(origin).of(httpx_error(exc, httpx2))
    if isinstance(exc, TimestepError):
        drop_frames(exc)  # they hold what the server said
    elif (known := _with_keys(origin, model)).secrets:  # it may be a gateway's own, or openai's
        mask_error(exc, known.hide)
    return _unreadable(exc, origin) if isinstance(exc, _ODD) else None


def _is_of_another_loop(exc: Exception) -> bool:
    """True for what asyncio raises for a client whose connections belong to another event loop."""
    return type(exc) is RuntimeError and "event loop" in str(exc).lower()


def _is_of_an_answer(exc: Exception) -> bool:
    """True for what clients raise for bytes that are not JSON, or for an answer of another shape."""
    if isinstance(exc, ValidationError):  # of the request, or of the answer
        return exc.title.startswith(("ChatCompletion", "Response"))
    return isinstance(exc, JSONDecodeError | UnicodeDecodeError)


def _unreadable(exc: Exception, origin: Origin) -> BrokenAnswerError:
    kind = "JSON" if isinstance(exc, JSONDecodeError) else "a piece of an answer"
    return broken(f"sent what is not {kind} ({type(exc).__name__})", origin)


def _unsendable(exc: Exception, origin: Origin) -> UnsupportedInputError:
    # The words of other errors may repeat a value.
    words = origin.clean(str(exc)) if isinstance(exc, TypeError) else type(exc).__name__
    return UnsupportedInputError(
        f"The request to {origin.host} cannot be written: {words}. Check the input, and extra_args "
        "and extra_body in the settings of the call."
    )


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


class _Events:
    """Wraps *events* of the Responses API: to break off before the last one is an error."""

    def __init__(self, events: Any, origin: Origin) -> None:
        self._stream = events
        self._events = aiter(events)
        self._origin = origin
        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> "_Events":
        return self

    async def __anext__(self) -> Any:
        async for event in self._events:
            self._has_ended = self._has_ended or getattr(event, "type", None) in _LAST
            return event
        if not self._has_ended:
            raise broken("broke off its answer", self._origin)
        raise StopAsyncIteration


class _Ends:
    """The calls and the end of one answer."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._completion = Completion(origin)

    def note(self, piece: Any) -> None:
        """Note what *piece*, a completion or a chunk of one, says of calls and the end."""
        for choice in entries(piece.choices)[:1]:
            said = getattr(choice, "delta", None) or getattr(choice, "message", None)
            has_call = getattr(said, "tool_calls", None) or getattr(said, "function_call", None)
            if choice.finish_reason or has_call:
                self._note(choice.model_dump(warnings=False))

    def _note(self, choice: dict[str, Any]) -> None:
        said = mapping(choice.get("delta") or choice.get("message"))
        calls = {name: said[name] for name in ("tool_calls", "function_call") if name in said}
        native = mapping(choice.get("provider_specific_fields")).get("native_finish_reason")
        for reason in (native, choice.get("finish_reason")):  # LiteLLM's own is "stop" for many
            kept = {"index": choice.get("index"), "finish_reason": reason, "delta": calls}
            self._completion.add({"choices": [kept]}, [])
            calls = {}

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
