"""The events of OpenAI's Responses API for one response, each a real openai object. Pure.

Events are built without validation, because a long answer has thousands. A test compares each event
with its validated form.

Source: openai ``types/responses/response_stream_event.py`` (3.52); the order of events follows
openai-agents ``agents.testing.ScriptedModel`` 0.24.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, cast, get_args

from agents.items import TResponseStreamEvent
from openai.types import responses
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
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


@cache
def _type(cls: type[BaseModel]) -> str:
    [name] = get_args(cls.model_fields["type"].annotation)
    return str(name)


def _shared(cls: type[BaseModel]) -> tuple[dict[str, Any], set[str]]:
    """Return what all deltas of *cls* have in common, and the names of the fields that are given."""
    defaults = _shape(cls)[1]
    return {**defaults, "type": _type(cls)}, cls.model_fields.keys() - defaults.keys()


_TEXT = _shared(responses.ResponseTextDeltaEvent)
_REASONING = _shared(responses.ResponseReasoningTextDeltaEvent)


class EventWriter:
    """Writes the events of one response, in order, onto a list."""

    __slots__ = ("_base", "_created_at", "_is_read", "_model", "_new_id", "_sequence", "events")

    _base: dict[str, Any]

    def __init__(
        self, *, new_id: Callable[[str], str], model: str, created_at: float, is_read: bool = True
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

    def _response(
        self, status: str, output: list[ResponseOutputItem], **more: Any
    ) -> responses.Response:
        return responses.Response.model_validate(
            {**self._base, "status": status, "output": output, **more}
        )

    def created(self) -> None:
        """Open the response."""
        if not self._is_read:
            return
        self._base = {
            "id": self._new_id("resp"),
            "created_at": self._created_at,
            "model": self._model,
            "object": "response",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
        begun = self._response("in_progress", [])
        self._write(responses.ResponseCreatedEvent, response=begun)
        self._write(responses.ResponseInProgressEvent, response=begun)

    def ended(
        self,
        output: list[ResponseOutputItem],
        usage: Usage,
        *,
        cut_by: str,  # the reason it is incomplete, or empty
        raw_usage: bool = False,
        error: Mapping[str, str] | None = None,
    ) -> None:
        """Close the response; as failed, if there is an *error*."""
        if not self._is_read:
            return
        more: dict[str, Any] = {"incomplete_details": {"reason": cut_by}} if cut_by else {}
        if error is None or usage.requests:
            more["usage"] = response_usage(usage, raw=raw_usage)
        if error is None:
            response = self._response("completed", output, **more)
            self._write(responses.ResponseCompletedEvent, response=response)
        else:
            response = self._response("failed", output, error=error, **more)
            self._write(responses.ResponseFailedEvent, response=response)

    def message_opened(self, index: int, item_id: str, provider_data: Mapping[str, Any]) -> None:
        """Announce a message and its one text part."""
        if not self._is_read:
            return
        self.item_added(index, message_item(item_id, [], provider_data, "in_progress"))
        part = output_text("", [])
        self._write(
            responses.ResponseContentPartAddedEvent,
            content_index=0,
            item_id=item_id,
            output_index=index,
            part=part,
        )

    def text_delta(self, index: int, item_id: str, delta: str, logprobs: Logprobs | None) -> None:
        """Add text to the message."""
        if self._is_read:
            sequence = self._sequence
            self._sequence = sequence + 1
            values = {
                **_TEXT[0],
                "content_index": 0,
                "delta": delta,
                "item_id": item_id,
                "logprobs": _logprobs(DeltaLogprob, logprobs) if logprobs else [],
                "output_index": index,
                "sequence_number": sequence,
            }
            cls = responses.ResponseTextDeltaEvent
            self.events.append(_bare(cls, values, _TEXT[1].copy(), {}))

    def message_closed(self, index: int, item: ResponseOutputMessage, logprobs: Logprobs) -> None:
        """Close the text, its part and the message."""
        if not self._is_read:
            return
        part = item.content[0]
        text = part.text if isinstance(part, ResponseOutputText) else ""
        at = {"content_index": 0, "item_id": item.id, "output_index": index}
        done = _logprobs(DoneLogprob, logprobs)
        self._write(responses.ResponseTextDoneEvent, **at, logprobs=done, text=text)
        self._write(responses.ResponseContentPartDoneEvent, **at, part=part)
        self.item_done(index, item)

    def reasoning_opened(self, index: int, provider_data: Mapping[str, Any]) -> None:
        """Announce a reasoning item."""
        if self._is_read:
            self.item_added(index, reasoning_item(None, provider_data, "in_progress"))

    def reasoning_delta(self, index: int, delta: str) -> None:
        """Add thinking to the reasoning item."""
        if self._is_read:
            sequence = self._sequence
            self._sequence = sequence + 1
            values = {
                **_REASONING[0],
                "content_index": 0,
                "delta": delta,
                "item_id": REASONING_ID,
                "output_index": index,
                "sequence_number": sequence,
            }
            cls = responses.ResponseReasoningTextDeltaEvent
            self.events.append(_bare(cls, values, _REASONING[1].copy(), {}))

    def reasoning_closed(self, index: int, item: ResponseReasoningItem) -> None:
        """Close the thinking and the reasoning item."""
        if not self._is_read:
            return
        text = "".join(part.text for part in item.content or [])
        at = {"content_index": 0, "item_id": item.id, "output_index": index}
        self._write(responses.ResponseReasoningTextDoneEvent, **at, text=text)
        self.item_done(index, item)

    def call(self, index: int, item: ResponseFunctionToolCall) -> None:
        """Announce, fill and close a function call."""
        if not self._is_read:
            return
        self.item_added(index, item.model_copy(update={"arguments": "", "status": "in_progress"}))
        at = {"item_id": item.id, "output_index": index}
        given = item.arguments
        self._write(responses.ResponseFunctionCallArgumentsDeltaEvent, **at, delta=given)
        self._write(
            responses.ResponseFunctionCallArgumentsDoneEvent, **at, arguments=given, name=item.name
        )
        self.item_done(index, item)

    def refusal(self, index: int, item: ResponseOutputMessage, text: str) -> None:
        """Announce, fill and close a refusal."""
        if not self._is_read:
            return
        self.item_added(index, item.model_copy(update={"content": [], "status": "in_progress"}))
        at = {"content_index": 0, "item_id": item.id, "output_index": index}
        empty = responses.ResponseOutputRefusal(refusal="", type="refusal")
        self._write(responses.ResponseContentPartAddedEvent, **at, part=empty)
        self._write(responses.ResponseRefusalDeltaEvent, **at, delta=text)
        self._write(responses.ResponseRefusalDoneEvent, **at, refusal=text)
        self._write(responses.ResponseContentPartDoneEvent, **at, part=item.content[0])
        self.item_done(index, item)

    def item_added(self, index: int, item: ResponseOutputItem) -> None:
        """Announce an item."""
        self._write(responses.ResponseOutputItemAddedEvent, item=item, output_index=index)

    def item_done(self, index: int, item: ResponseOutputItem) -> None:
        """Close an item."""
        self._write(responses.ResponseOutputItemDoneEvent, item=item, output_index=index)

    def _write(self, cls: type[BaseModel], **fields: Any) -> None:
        if self._is_read:
            fields |= {"sequence_number": self._sequence, "type": _type(cls)}
            self._sequence += 1
            self.events.append(cast("TResponseStreamEvent", instance(cls, fields)))


def message_item(
    item_id: str,
    content: list[ResponseOutputText | responses.ResponseOutputRefusal],
    provider_data: Mapping[str, Any],
    status: str = "completed",
) -> ResponseOutputMessage:
    """Return an assistant message."""
    return instance(
        ResponseOutputMessage,
        {
            "id": item_id,
            "content": content,
            "role": "assistant",
            "status": status,
            "type": "message",
            "provider_data": dict(provider_data),
        },
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
