"""The events of OpenAI's Responses API for one response, each a real openai object. Pure.

Events are built without validation, because a long answer has thousands. A test compares each event
with its validated form.

Source: openai ``types/responses/response_stream_event.py`` (3.52); the order of events follows
openai-agents ``agents.testing.ScriptedModel`` 0.24.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseFailedEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseFunctionToolCall,
    ResponseInProgressEvent,
    ResponseOutputItem,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputRefusal,
    ResponseOutputText,
    ResponseReasoningItem,
    ResponseReasoningTextDeltaEvent,
    ResponseReasoningTextDoneEvent,
    ResponseRefusalDeltaEvent,
    ResponseRefusalDoneEvent,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)
from openai.types.responses.response_output_text import Logprob
from openai.types.responses.response_reasoning_item import Content
from openai.types.responses.response_text_delta_event import Logprob as DeltaLogprob
from openai.types.responses.response_text_done_event import Logprob as DoneLogprob
from pydantic import BaseModel

from timestep.answer.chunks import Logprobs, Usage
from timestep.answer.usage import response_usage

REASONING_ID = "__fake_id__"
"""The id of reasoning items: the SDK's own placeholder, which it strips before OpenAI sees it."""

Events = list[TResponseStreamEvent]

_Model = TypeVar("_Model", bound=BaseModel)
_new = object.__new__
_set = object.__setattr__


def instance(cls: type[_Model], fields: dict[str, Any]) -> _Model:
    """Return a *cls* with *fields*, without validation."""
    declared, defaults = _shape(cls)
    extra = {name: fields.pop(name) for name in fields.keys() - declared}
    return _bare(cls, {**defaults, **fields}, set(fields) | set(extra), extra)


def _bare(
    cls: type[_Model], values: dict[str, Any], given: set[str], extra: dict[str, Any]
) -> _Model:
    event = _new(cls)
    _set(event, "__dict__", values)
    _set(event, "__pydantic_fields_set__", given)
    _set(event, "__pydantic_extra__", extra)
    _set(event, "__pydantic_private__", None)
    return event


@cache
def _shape(cls: type[BaseModel]) -> tuple[frozenset[str], dict[str, Any]]:
    """Return the declared fields of *cls*, and the defaults of the optional ones."""
    optional = {
        name: f.get_default(call_default_factory=True)
        for name, f in cls.model_fields.items()
        if not f.is_required()
    }
    return frozenset(cls.model_fields), optional


# Most events are deltas. What they share is made once.
_TEXT_DEFAULTS = _shape(ResponseTextDeltaEvent)[1]
_TEXT_GIVEN = set(ResponseTextDeltaEvent.model_fields) - set(_TEXT_DEFAULTS)
_REASONING_DEFAULTS = _shape(ResponseReasoningTextDeltaEvent)[1]
_REASONING_GIVEN = set(ResponseReasoningTextDeltaEvent.model_fields) - set(_REASONING_DEFAULTS)


class EventWriter:
    """Writes the events of one response, in order, onto a list."""

    __slots__ = ("_base", "_created_at", "_is_read", "_model", "_new_id", "_sequence", "events")

    _base: dict[str, Any]

    def __init__(
        self, *, new_id: Callable[[], str], model: str, created_at: float, is_read: bool = True
    ) -> None:
        self.events: Events = []
        self._is_read = is_read
        self._sequence = 0
        self._new_id = new_id
        self._model = model
        self._created_at = created_at

    def take(self) -> Events:
        """Return the events written since the last call."""
        events, self.events = self.events, []
        return events

    def _response(self, status: str, output: list[ResponseOutputItem], **more: Any) -> Response:
        return Response.model_validate({**self._base, "status": status, "output": output, **more})

    def created(self) -> None:
        """Open the response."""
        if not self._is_read:
            return
        self._base = {
            "id": self._new_id(),
            "created_at": self._created_at,
            "model": self._model,
            "object": "response",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        begun = self._response("in_progress", [])
        self._write(ResponseCreatedEvent, {"response": begun, "type": "response.created"})
        self._write(ResponseInProgressEvent, {"response": begun, "type": "response.in_progress"})

    def completed(
        self, output: list[ResponseOutputItem], usage: Usage, *, raw_usage: bool, cut_by: str
    ) -> None:
        """Close the response; *cut_by* is the reason it is incomplete, or empty."""
        if not self._is_read:
            return
        counted = response_usage(usage, raw=raw_usage)
        response = self._response("completed", output, usage=counted, **_incomplete(cut_by))
        self._write(ResponseCompletedEvent, {"response": response, "type": "response.completed"})

    def failed(
        self,
        output: list[ResponseOutputItem],
        usage: Usage,
        error: Mapping[str, str],
        *,
        cut_by: str,
    ) -> None:
        """Close a response that failed; *cut_by* is the reason it is incomplete, or empty."""
        counted = response_usage(usage, raw=False) if usage.requests else None
        more = {"error": error, **_incomplete(cut_by)}
        response = self._response("failed", output, usage=counted, **more)
        self._write(ResponseFailedEvent, {"response": response, "type": "response.failed"})

    def message_opened(self, index: int, item_id: str, provider_data: Mapping[str, Any]) -> None:
        """Announce a message and its one text part."""
        if not self._is_read:
            return
        self.item_added(index, message_item(item_id, None, [], provider_data, "in_progress"))
        part = {"item_id": item_id, "output_index": index, "content_index": 0}
        added = {**part, "part": output_text("", []), "type": "response.content_part.added"}
        self._write(ResponseContentPartAddedEvent, added)

    def text_delta(self, index: int, item_id: str, delta: str, logprobs: Logprobs | None) -> None:
        """Add text to the message."""
        if not self._is_read:
            return
        sequence = self._sequence
        self._sequence = sequence + 1
        values = {
            **_TEXT_DEFAULTS,
            "content_index": 0,
            "delta": delta,
            "item_id": item_id,
            "logprobs": _logprobs(DeltaLogprob, logprobs) if logprobs else [],
            "output_index": index,
            "sequence_number": sequence,
            "type": "response.output_text.delta",
        }
        self.events.append(_bare(ResponseTextDeltaEvent, values, _TEXT_GIVEN.copy(), {}))

    def message_closed(self, index: int, item: ResponseOutputMessage, logprobs: Logprobs) -> None:
        """Close the text, its part and the message."""
        part = item.content[0]
        text = part.text if isinstance(part, ResponseOutputText) else ""
        at = {"content_index": 0, "item_id": item.id, "output_index": index}
        done = {"logprobs": _logprobs(DoneLogprob, logprobs), "text": text}
        self._write(ResponseTextDoneEvent, {**at, **done, "type": "response.output_text.done"})
        closed = {**at, "part": part, "type": "response.content_part.done"}
        self._write(ResponseContentPartDoneEvent, closed)
        self.item_done(index, item)

    def reasoning_opened(self, index: int, provider_data: Mapping[str, Any]) -> None:
        """Announce a reasoning item."""
        self.item_added(index, reasoning_item(None, provider_data, "in_progress"))

    def reasoning_delta(self, index: int, delta: str) -> None:
        """Add thinking to the reasoning item."""
        if not self._is_read:
            return
        sequence = self._sequence
        self._sequence = sequence + 1
        values = {
            **_REASONING_DEFAULTS,
            "content_index": 0,
            "delta": delta,
            "item_id": REASONING_ID,
            "output_index": index,
            "sequence_number": sequence,
            "type": "response.reasoning_text.delta",
        }
        self.events.append(
            _bare(ResponseReasoningTextDeltaEvent, values, _REASONING_GIVEN.copy(), {})
        )

    def reasoning_closed(self, index: int, item: ResponseReasoningItem) -> None:
        """Close the thinking and the reasoning item."""
        done = {
            "content_index": 0,
            "item_id": item.id,
            "output_index": index,
            "text": "".join(part.text for part in item.content or []),
            "type": "response.reasoning_text.done",
        }
        self._write(ResponseReasoningTextDoneEvent, done)
        self.item_done(index, item)

    def call(self, index: int, item: ResponseFunctionToolCall) -> None:
        """Announce, fill and close a function call."""
        begun = item.model_copy(update={"arguments": "", "status": "in_progress"})
        self.item_added(index, begun)
        at = {"item_id": item.id, "output_index": index}
        delta = {**at, "delta": item.arguments, "type": "response.function_call_arguments.delta"}
        self._write(ResponseFunctionCallArgumentsDeltaEvent, delta)
        done = {
            **at,
            "arguments": item.arguments,
            "name": item.name,
            "type": "response.function_call_arguments.done",
        }
        self._write(ResponseFunctionCallArgumentsDoneEvent, done)
        self.item_done(index, item)

    def refusal(self, index: int, item: ResponseOutputMessage, text: str) -> None:
        """Announce, fill and close a refusal."""
        if not self._is_read:
            return
        self.item_added(index, item.model_copy(update={"content": [], "status": "in_progress"}))
        at = {"item_id": item.id, "output_index": index, "content_index": 0}
        empty = ResponseOutputRefusal(refusal="", type="refusal")
        added = {**at, "part": empty, "type": "response.content_part.added"}
        self._write(ResponseContentPartAddedEvent, added)
        delta = {**at, "delta": text, "type": "response.refusal.delta"}
        self._write(ResponseRefusalDeltaEvent, delta)
        done = {**at, "refusal": text, "type": "response.refusal.done"}
        self._write(ResponseRefusalDoneEvent, done)
        closed = {**at, "part": item.content[0], "type": "response.content_part.done"}
        self._write(ResponseContentPartDoneEvent, closed)
        self.item_done(index, item)

    def item_added(self, index: int, item: ResponseOutputItem) -> None:
        """Announce an item."""
        added = {"item": item, "output_index": index, "type": "response.output_item.added"}
        self._write(ResponseOutputItemAddedEvent, added)

    def item_done(self, index: int, item: ResponseOutputItem) -> None:
        """Close an item."""
        done = {"item": item, "output_index": index, "type": "response.output_item.done"}
        self._write(ResponseOutputItemDoneEvent, done)

    def _write(self, cls: type[BaseModel], fields: dict[str, Any]) -> None:
        if not self._is_read:
            return
        fields["sequence_number"] = self._sequence
        self._sequence += 1
        self.events.append(cast("TResponseStreamEvent", instance(cls, fields)))


def _incomplete(cut_by: str) -> dict[str, Any]:
    return {"incomplete_details": {"reason": cut_by}} if cut_by else {}


def message_item(
    item_id: str,
    text: str | None,
    logprobs: Logprobs,
    provider_data: Mapping[str, Any],
    status: str,
) -> ResponseOutputMessage:
    """Return an assistant message, without content if *text* is None."""
    return instance(
        ResponseOutputMessage,
        {
            "id": item_id,
            "content": [] if text is None else [output_text(text, logprobs)],
            "role": "assistant",
            "status": status,
            "type": "message",
            "provider_data": dict(provider_data),
        },
    )


def refusal_item(
    item_id: str, text: str, provider_data: Mapping[str, Any]
) -> ResponseOutputMessage:
    """Return an assistant message in which the model refuses to answer."""
    return ResponseOutputMessage.model_validate(
        {
            "id": item_id,
            "content": [ResponseOutputRefusal(refusal=text, type="refusal")],
            "role": "assistant",
            "status": "completed",
            "type": "message",
            "provider_data": dict(provider_data),
        }
    )


def reasoning_item(
    text: str | None, provider_data: Mapping[str, Any], status: str | None = None
) -> ResponseReasoningItem:
    """Return a reasoning item, without content if *text* is None."""
    return ResponseReasoningItem.model_validate(
        {
            "id": REASONING_ID,
            "summary": [],
            "type": "reasoning",
            "content": [] if text is None else [Content(text=text, type="reasoning_text")],
            "provider_data": dict(provider_data),
            **({"status": status} if status else {}),
        }
    )


def call_item(
    item_id: str, call_id: str, name: str, arguments: str, provider_data: Mapping[str, Any]
) -> ResponseFunctionToolCall:
    """Return a complete function call. *arguments* are JSON text."""
    return instance(
        ResponseFunctionToolCall,
        {
            "id": item_id,
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
            "type": "function_call",
            "status": "completed",
            "provider_data": dict(provider_data),
        },
    )


def output_text(text: str, logprobs: Logprobs) -> ResponseOutputText:
    """Return the one text part of a message."""
    return instance(
        ResponseOutputText,
        {
            "annotations": [],
            "text": text,
            "type": "output_text",
            "logprobs": _logprobs(Logprob, logprobs),
        },
    )


def _logprobs(cls: type[_Model], logprobs: Logprobs) -> list[_Model]:
    return [cls.model_validate(entry) for entry in logprobs]
