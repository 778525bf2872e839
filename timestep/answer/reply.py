"""Turns the chunks of an answer into output items and stream events, by its rules. Pure.

`get_response` and `stream_response` feed the same `Reply`. Feed it the chunks in order. After the
`End` call `outcome.settle`. Then `finish` it, or `restart` it for a repair.
"""

import json
from collections.abc import Iterable

from openai.types.responses import ResponseOutputItem

from timestep.answer.chunks import (
    INCOMPLETE,
    Call,
    Chunk,
    End,
    Refusal,
    Text,
    Thinking,
    TokenLogprobs,
    Usage,
)
from timestep.answer.events import Events
from timestep.answer.from_text import Mismatch, declared_name
from timestep.answer.held_text import HeldText
from timestep.answer.ids import Ids
from timestep.answer.items import Items
from timestep.answer.rules import Rules
from timestep.errors import ModelOutputError
from timestep.errors.retry import TRY_AGAIN
from timestep.net.origin import Origin


class Reply:
    """One answer under way.

    Attributes:
        usage: The usage of all answers so far.
        done: True once the answer has ended.
        done_reason: Why it ended.
        calls: The names of the calls that were shown.
        dropped_calls: The number of calls that were ignored.
        held_calls: Calls that wait to be checked if a call is required, each with the text before
            it.
        text: The text that is not in the items yet, because it is held back.
        refusals: The model's refusals.
    """

    def __init__(
        self,
        rules: Rules,  # the rules for reading the answer
        *,
        model: str,  # the name the caller asked for
        created_at: float,  # Unix time
        ids: Ids,  # makes the ids that the server leaves out
        origin: Origin,  # for errors; it may change once the answering server is known
        is_streamed: bool = True,  # False if no events are needed
    ) -> None:
        self.origin = origin
        self.usage = Usage()
        self.calls: list[str] = []
        self.dropped_calls = 0
        self.items = Items(
            model=model,
            created_at=created_at,
            ids=ids,
            used_ids=rules.call_ids,
            is_streamed=is_streamed,
        )
        self._begin(rules)

    def restart(self, rules: Rules) -> None:
        """Read another answer into the same response, for a repair."""
        self.items.close()
        self.items.forget_logprobs()
        self._begin(rules)

    def _begin(self, rules: Rules) -> None:
        self.rules = rules
        self.done = False
        self.done_reason: str | None = None
        self.held_calls: list[tuple[str, Call]] = []
        self.text = HeldText(rules)
        self.refusals: list[str] = []

    @property
    def output(self) -> list[ResponseOutputItem]:
        """The items so far."""
        return self.items.output

    @property
    def has_output(self) -> bool:
        """True once something was shown. A retry would show it twice."""
        return self.items.has_output

    @property
    def was_cut(self) -> bool:
        """True when the token limit ended the answer."""
        return self.done_reason == "length"

    @property
    def was_filtered(self) -> bool:
        """True when the server's content filter ended the answer."""
        return self.done_reason == "content_filter"

    @property
    def cut_by(self) -> str:
        """``length`` or ``content_filter`` if one of them ended the answer; else empty."""
        return self.done_reason if self.done_reason in INCOMPLETE else ""

    def take_events(self) -> Events:
        """Return the events since the last call."""
        return self.items.take_events()

    def feed(self, chunks: Iterable[Chunk]) -> None:
        """Add *chunks*, up to the end of the answer.

        Raises:
            ModelOutputError: A call cannot be used.
            TimestepError: One of the chunks is a failure.
        """
        for chunk in chunks:
            if self.done:
                return
            if isinstance(chunk, Text):
                if self.text.is_live and chunk.text:
                    self.items.write(chunk.text)
                else:
                    self._show(*self.text.feed(chunk.text))
            elif isinstance(chunk, Thinking):
                self.items.think(chunk.text, chunk.field)
            elif isinstance(chunk, TokenLogprobs):
                self.items.wait_for(chunk.entries)
            elif isinstance(chunk, Call):
                self._call(chunk)
            elif isinstance(chunk, End):
                self._end(chunk)
            elif isinstance(chunk, Refusal):
                self.refusals.append(chunk.text)
            else:
                raise chunk.error

    def add_text(self, text: str) -> None:
        """Show *text*, which was held back, as a message of its own."""
        self.items.close()
        self.items.write(text)

    def add_call(self, call: Call) -> None:
        """Show *call*, which the server sent or the model wrote as text."""
        if not isinstance(call.name, str):
            raise _unusable(self.origin, "a tool without naming it")
        try:
            name = declared_name(call.name, self.rules.tools)
            arguments = text_of_arguments(call.arguments)
        except Mismatch as exc:
            raise _unusable(self.origin, f"a tool, and {exc}") from exc
        except ValueError as exc:
            raise _unusable(self.origin, f"{call.name!r} with arguments that are not JSON") from exc
        if self.rules.no_calls or (self.rules.one_call and self.calls):
            self.dropped_calls += 1
            return
        self.calls.append(name)
        self.items.call(name, arguments, call.call_id, call.extra)

    def finish(self, *, raw_usage: bool = False) -> None:
        """Close the response.

        Args:
            raw_usage: Keep the provider's own figures as extra fields of the usage.
        """
        if not self.items.has_message and not self.calls:
            self.items.open_message()  # an empty answer is an answer
        self.items.finish(self.usage, raw_usage=raw_usage, cut_by=self.cut_by)

    def fail(self, message: str) -> None:
        """Close the response as failed with *message*. What was shown stays in it."""
        error = {"code": "server_error", "message": message}
        self.items.finish(self.usage, cut_by=self.cut_by, error=error)

    def _show(self, thinking: str, text: str) -> None:
        if thinking:
            self.items.think(thinking)
        if text:
            self.items.write(text)
        else:
            self.items.begin()

    def _call(self, call: Call) -> None:
        before = self.text.take()
        if self.rules.must_call:
            self.items.begin()
            self.held_calls.append((before, call))
            return
        if before.strip():
            self.add_text(before)  # words before a call stay before it
        self.add_call(call)

    def _end(self, end: End) -> None:
        self._show(*self.text.end())
        self.done = True
        self.done_reason = end.reason
        self.usage.add(end.usage)
        if self.refusals:
            self.items.refuse("".join(self.refusals))


def text_of_arguments(arguments: object) -> str:
    """Return *arguments* as JSON text. Text stays as it is, unless it is empty."""
    if isinstance(arguments, str):
        return "{}" if arguments.strip() in {"", "null"} else arguments
    try:
        return json.dumps(
            {} if arguments is None else arguments, ensure_ascii=False, allow_nan=False
        )
    except (TypeError, RecursionError) as exc:  # only a foreign client's objects get here
        raise ValueError("arguments") from exc


def _unusable(origin: Origin, call: str) -> ModelOutputError:
    return ModelOutputError(
        f"{origin.model!r} called {origin.clean(call)}. {TRY_AGAIN}", **origin.where()
    )
