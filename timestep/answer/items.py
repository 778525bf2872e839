"""The output items of one response, and the events that report how they grow. Pure.

Thinking, text and calls come in the order in which the model wrote them. One item is open at a
time. A call is never open, because it arrives whole.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from openai.types.responses import (
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputRefusal,
)

from timestep.answer.chunks import INCOMPLETE, Logprobs, Usage
from timestep.answer.events import (
    Events,
    EventWriter,
    call_item,
    message_item,
    output_text,
    reasoning_item,
)
from timestep.answer.ids import Ids

REASONING_FIELD = "_chat_completions_reasoning_field"
"""The key under which the SDK's converter looks for the field that thinking goes back in.

Source: openai-agents 0.24 ``models/reasoning_content_replay.py``.
"""


class Items:
    """The items of one response."""

    def __init__(
        self,
        *,
        model: str,  # the name the caller asked for
        created_at: float,  # Unix time
        ids: Ids,  # makes the ids that the server leaves out
        used_ids: Iterable[str],  # call ids that new calls must not have
        is_streamed: bool,  # False if no events are needed
    ) -> None:
        self.output: list[ResponseOutputItem] = []
        self.has_message = False
        self.has_words = False  # a message has more than white space
        self._writer = EventWriter(
            new_id=ids.new, model=model, created_at=created_at, is_read=is_streamed
        )
        self._data: dict[str, Any] = {"model": model}
        self._ids = ids
        self._used_ids = set(used_ids)
        self._has_begun = False
        self._kind = ""  # of the open item: "", "reasoning" or "message"
        self._field = ""
        self._item_id = ""
        self._texts: list[str] = []
        self._logprobs: Logprobs = []
        self._waiting: Logprobs = []

    @property
    def has_output(self) -> bool:
        """True once an item was shown."""
        return bool(self.output or self._kind)

    @property
    def last_text(self) -> str:
        """The text of the newest message."""
        if self._kind == "message":
            return "".join(self._texts)
        for item in reversed(self.output):
            if item.type == "message":
                return "".join(part.text for part in item.content if part.type == "output_text")
        return ""

    def take_events(self) -> Events:
        """Return the events since the last call."""
        return self._writer.take()

    def begin(self) -> None:
        """Open the response, unless it is open."""
        if not self._has_begun:
            self._has_begun = True
            self._writer.created()

    def wait_for(self, logprobs: Logprobs) -> None:
        """Keep *logprobs* for the next text, thinking or call."""
        self._waiting += logprobs

    def forget_logprobs(self) -> None:
        """Drop logprobs of text that was never shown."""
        self._waiting = []

    def think(self, text: str, field: str = "") -> None:
        """Add *text* to the open reasoning item, or open one.

        *field* is the field to send it back in.
        """
        if self._kind != "reasoning":
            self.close()
            self._kind = "reasoning"
            self._writer.reasoning_opened(len(self.output), self._data)
        if self._waiting:
            self._logprobs += self._take_waiting()
        self._field = field
        self._texts.append(text)
        self._writer.reasoning_delta(len(self.output), text)

    def write(self, text: str) -> None:
        """Add *text* to the open message, or open one."""
        if self._kind != "message":
            self.open_message()
        logprobs = None
        if self._waiting:
            logprobs = self._take_waiting()
            self._logprobs += logprobs
        self._texts.append(text)
        if not self.has_words and text.strip():
            self.has_words = True
        self._writer.text_delta(len(self.output), self._item_id, text, logprobs)

    def open_message(self) -> None:
        """Open a message without text."""
        self.close()
        self._kind = "message"
        self.has_message = True
        self._item_id = self._ids.new("msg")
        self._writer.message_opened(len(self.output), self._item_id, self._data)

    def refuse(self, text: str) -> None:
        """Add a message in which the model refuses to answer."""
        self.close()
        refusal = ResponseOutputRefusal(refusal=text, type="refusal")
        item = message_item(self._ids.new("msg"), [refusal], self._data)
        self.has_message = True
        self._writer.refusal(len(self.output), item, text)
        self.output.append(item)

    def call(
        self, name: str, arguments: str, call_id: object, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Add a call, its *arguments* as JSON text.

        *call_id* is kept if it is valid and unused. *extra* goes into the provider data.
        """
        self.close()
        data: dict[str, Any] = {**self._data, **(extra or {})}
        if self._waiting:
            data = {**data, "logprobs": self._take_waiting()}
        claimed = self._ids.claim(call_id, self._used_ids)
        item = call_item(self._ids.new("fc"), claimed, name, arguments, data)
        self._writer.call(len(self.output), item)
        self.output.append(item)

    def close(self, status: str = "completed", **more: Any) -> None:
        """Close the open item, if any. *more* goes into its provider data."""
        if not self._kind:
            self.begin()
            return
        index, text, data = len(self.output), "".join(self._texts), {**self._data, **more}
        if self._kind == "message":
            message = message_item(self._item_id, [output_text(text, self._logprobs)], data, status)
            self._writer.message_closed(index, message, self._logprobs)
            self.output.append(message)
        else:
            if self._logprobs:
                data["logprobs"] = self._logprobs
            if self._field:
                data[REASONING_FIELD] = self._field
            reasoning = reasoning_item(text, data, None if status == "completed" else status)
            self._writer.reasoning_closed(index, reasoning)
            self.output.append(reasoning)
        self._kind, self._texts, self._logprobs = "", [], []

    def finish(
        self,
        usage: Usage,  # what the response cost
        *,
        # `length` or `content_filter` if one of them ended the answer, else empty. It makes the
        # last item and the last message `incomplete`, but not the response: the Runner throws away
        # a run that ends in an incomplete one.
        cut_by: str,
        raw_usage: bool = False,  # keep the provider's own figures as extra fields of the usage
        error: Mapping[str, str] | None = None,  # with one of the API's error codes
    ) -> None:
        """Close the last item and the response; as failed, if there is an *error*."""
        # Waiting logprobs are the open item's, or of markers after the last call.
        self._logprobs += self._take_waiting()
        cut = {"finish_reason": cut_by} if cut_by else {}
        self.close("incomplete" if cut_by or error else "completed", **cut)
        if cut:
            self._mark_message(cut)
        reason = INCOMPLETE.get(cut_by, "")
        self._writer.ended(self.output, usage, cut_by=reason, raw_usage=raw_usage, error=error)

    def _mark_message(self, cut: dict[str, Any]) -> None:
        """Mark the last message as ``incomplete``, even if thinking came after it."""
        for index in range(len(self.output) - 1, -1, -1):
            item = self.output[index]
            if isinstance(item, ResponseOutputMessage):
                # A copy: the event that closed the message must not change.
                data = {**self._data, **cut}
                marks = {"status": "incomplete", "provider_data": data}
                self.output[index] = item.model_copy(update=marks)
                return

    def _take_waiting(self) -> Logprobs:
        logprobs, self._waiting = self._waiting, []
        return logprobs
