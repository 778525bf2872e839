"""The bytes of an answer, decoded into output items and stream events. Pure.

`get_response` and `stream_response` feed the same `Reply`. It keeps one open item at a time:
thinking, text and calls follow one another in any order, as the model wrote them.

Source: ollama ``api/types.go`` (``ChatResponse``) v0.33.0 and the recordings in ``tests/wire``.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import jiter
from openai.types.responses import Response, ResponseOutputItem

from timestep.answer.answer_text import AnswerText
from timestep.answer.events import (
    Events,
    EventWriter,
    Logprobs,
    call_item,
    message_item,
    read_logprobs,
    reasoning_item,
    usage,
)
from timestep.errors import ModelOutputError, OllamaStreamError
from timestep.net.origin import Origin
from timestep.ollama.errors import line_error
from timestep.ollama.lines import LineSplitter, check_length
from timestep.ollama.request.build import ChatRequest, Reading

_CALL_ID = re.compile(r"call_[A-Za-z0-9_-]{1,59}")  # OpenAI takes 64 characters at most

DURATIONS = (
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)
"""What the server says about time, in nanoseconds, on the last line."""


@dataclass(slots=True)
class Counts:
    """What the answers to one call cost, summed over its requests."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    durations: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Count the last line of an answer."""
        self.requests += 1
        self.input_tokens += count(chunk, "prompt_eval_count")
        self.output_tokens += count(chunk, "eval_count")
        self.cached_tokens += count(chunk, "prompt_eval_cached_count")
        for name in DURATIONS:
            if (value := count(chunk, name)) > 0:
                self.durations[name] = self.durations.get(name, 0) + value


@dataclass(frozen=True, slots=True)
class Ids:
    """Where new ids come from."""

    response: Callable[[], str]
    message: Callable[[], str]
    function_call: Callable[[], str]
    call: Callable[[], str]


class Reply:
    """One answer under way.

    Feed it the body's bytes in order, call `end_of_body`, then look at `held`, and `finish`.

    Args:
        request: Says how text is read and which call ids are taken.
        model: The name the caller asked for.
        created_at: Unix time.
        ids: For what the server does not name.
        origin: For error texts; another one once it is known who answers.
        is_streamed: False when nobody looks at the events.
    """

    def __init__(
        self,
        request: ChatRequest,
        *,
        model: str,
        created_at: float,
        ids: Ids,
        origin: Origin,
        is_streamed: bool = True,
    ) -> None:
        self.output: list[ResponseOutputItem] = []
        self.counts = Counts()
        self.done = False
        self.done_reason: str | None = None
        self.has_calls = False
        self.dropped_calls = 0
        self._provider_data: dict[str, Any] = {"model": model}
        self._writer = EventWriter(
            response_id=ids.response(), model=model, created_at=created_at, is_read=is_streamed
        )
        self._ids = ids
        self.origin = origin
        self._used_ids = set(request.call_ids)
        self._kind = ""  # of the open item: "", "reasoning" or "message"
        self._item_id = ""
        self._texts: list[str] = []
        self._logprobs: Logprobs = []
        self._waiting: Logprobs = []
        self._last: Mapping[str, Any] = {}
        self._begun = False
        self.restart(request)

    def restart(self, request: ChatRequest) -> None:
        """Read another answer into the same response: a repair continues, it does not replace."""
        self._close()
        self._waiting = []  # they belong to text that nobody has seen
        self.request = request
        self.done = False
        self.done_reason = None
        self._lines = LineSplitter()
        self._held: list[str] = []
        # Of a structured answer, what begins with a fence or with prose may have to be taken back.
        self._is_unproven = request.reading is Reading.LIVE and request.output is not None
        self._holds = request.reading is Reading.HELD or self._is_unproven
        self.held_calls: list[tuple[Any, Any, Any]] = []
        self._answer = AnswerText() if request.reading is Reading.EMULATED else None

    @property
    def has_output(self) -> bool:
        """True once something was shown that a retry would show twice."""
        return bool(self.output or self._kind)

    @property
    def has_text(self) -> bool:
        """True when a message was written."""
        return self._kind == "message" or any(item.type == "message" for item in self.output)

    @property
    def holds(self) -> bool:
        """True when text is not shown before it is known to be right."""
        return self._holds

    @property
    def held(self) -> str:
        """The text that was read but not shown."""
        return "".join(self._held)

    @property
    def last_text(self) -> str:
        """The text of the newest message."""
        if self._kind == "message":
            return "".join(self._texts)
        for item in reversed(self.output):
            if item.type == "message":
                return "".join(part.text for part in item.content if part.type == "output_text")
        return ""

    @property
    def was_cut(self) -> bool:
        """True when the token limit ended the answer."""
        return self.done_reason == "length"

    def take_events(self) -> Events:
        """The events since the last call."""
        return self._writer.take()

    def feed(self, data: bytes) -> None:
        """Decode the lines that *data* completes.

        Raises:
            OllamaError: A line is an error, or no chunk.
        """
        for line in self._lines.feed(data):
            self._line(line)
        check_length("a line", self._lines.waiting, self.origin)

    def end_of_body(self) -> None:
        """Decode what follows the last newline.

        Raises:
            OllamaError: It is an error or no chunk, or the body ended without ``done``.
        """
        for line in self._lines.flush():
            self._line(line)
        if not self.done:
            raise OllamaStreamError(
                f"The answer of {self.origin.host} ended without its last line (done: true), so "
                "it is not complete. The model was stopped, for instance for repeating itself, or "
                "a proxy cut the connection; the server's log says more.",
                **self.origin.where(),
            )

    def feed_chunk(self, chunk: Any) -> None:
        """Decode one parsed line.

        Raises:
            OllamaError: It is an error, or no chunk.
        """
        if self.done:
            return  # nothing after the last line belongs to the answer
        if not isinstance(chunk, dict):
            raise self._strange(f"{type(chunk).__name__} instead of an object")
        line = cast("dict[str, Any]", chunk)
        message = line.get("message")
        if not isinstance(message, dict) or line.get("error") is not None:
            self._no_message(line)
            return
        if not self._begun:
            self._begin()
        parts = cast("dict[str, Any]", message)
        if logprobs := line.get("logprobs"):
            self._waiting += self._read_logprobs(logprobs)
        if thinking := parts.get("thinking"):
            self._thinking(self._checked(thinking, "thinking"))
        if content := parts.get("content"):
            self._content(self._checked(content, "content"))
        if calls := parts.get("tool_calls"):
            self._calls(calls)
        if line.get("done") is True:
            self._done(line)

    def release(self) -> None:
        """Forget the held text: it has been shown in another form."""
        self._held.clear()

    def add_text(self, text: str) -> None:
        """Show *text*, held back until it was known to be right, as a message of its own."""
        self._close()
        logprobs, self._waiting = self._waiting, []
        self._text(text, logprobs)

    def add_call(self, name: Any, arguments: Any, call_id: Any = None) -> None:
        """Show a call: one the server sent, or one that was written as text.

        Raises:
            ModelOutputError: It has no name, or its arguments are no JSON.
        """
        if not isinstance(name, str):
            raise self._unusable("a tool without naming it")
        try:
            text = text_of_arguments(arguments)
        except ValueError as exc:
            raise self._unusable(f"{name!r} with arguments that are no JSON") from exc
        if self.request.no_calls or (self.request.one_call and self.has_calls):
            self.dropped_calls += 1
            return
        self._close()
        self.has_calls = True
        data = self._data_with_logprobs()
        item = call_item(
            self._ids.function_call(),
            claim_call_id(call_id, self._used_ids, self._ids.call),
            name,
            text,
            data,
        )
        self._writer.call(len(self.output), item)
        self.output.append(item)

    def finish(self, *, raw_usage: bool = False) -> Response:
        """Close the response, completed or cut short, and return it.

        Args:
            raw_usage: Keep the server's durations as extra fields of the usage.
        """
        if not self.has_text and not self.has_calls:
            self._open_message()  # an empty answer is an answer
        cut = self.was_cut
        self._close_last("incomplete" if cut else "completed")
        response = self._writer.response(
            "incomplete" if cut else "completed",
            self.output,
            usage=self._usage(raw_usage=raw_usage),
            **({"incomplete_details": {"reason": "max_output_tokens"}} if cut else {}),
        )
        self._writer.terminal(response)
        return response

    def fail(self, message: str, *, code: str = "server_error", cut: bool = False) -> None:
        """Close a response that was already shown in part, so that nothing shown is lost.

        Args:
            message: What happened.
            code: One of the Responses API's error codes.
            cut: The token limit ended it, which is ``incomplete`` rather than ``failed``.
        """
        self._close_last("incomplete")
        more: dict[str, Any] = {"error": {"code": code, "message": message}}
        if cut:
            more = {"incomplete_details": {"reason": "max_output_tokens"}}
        status = "incomplete" if cut else "failed"
        counted = self._usage() if self.counts.requests else None
        self._writer.terminal(self._writer.response(status, self.output, usage=counted, **more))

    def raw_usage(self) -> dict[str, Any]:
        """The server's own figures: token counts, and durations in nanoseconds."""
        return {
            "prompt_eval_count": self.counts.input_tokens,
            "eval_count": self.counts.output_tokens,
            **self.counts.durations,
        }

    def _line(self, line: bytes) -> None:
        try:
            chunk = jiter.from_json(line)
        except ValueError as exc:
            if self.done or not line.strip():
                return
            raise self._strange(f"no JSON: {self.origin.quote(line)}") from exc
        self.feed_chunk(chunk)

    def _no_message(self, chunk: dict[str, Any]) -> None:
        is_error = chunk.get("error") is not None
        if chunk.get("message") is not None and not is_error:
            raise self._strange("a message that is no object")
        if chunk.get("done") is not True or is_error:
            raise line_error(chunk, self.origin)
        if not self._begun:
            self._begin()
        self._done(chunk)

    def _begin(self) -> None:
        self._begun = True
        self._writer.created()

    def _thinking(self, text: str) -> None:
        if self._kind != "reasoning":
            self._close()
            self._kind = "reasoning"
            self._writer.reasoning_opened(len(self.output), self._provider_data)
        if self._waiting:
            self._logprobs += self._waiting
            self._waiting = []
        self._texts.append(text)
        self._writer.reasoning_delta(len(self.output), text)

    def _content(self, text: str) -> None:
        if self._answer is not None:
            text = self._answer.feed(text)
            if not text:
                return
        elif self._holds:
            self._held.append(text)
            if self._is_unproven:
                self._prove()
            return
        logprobs = None
        if self._waiting:
            logprobs, self._waiting = self._waiting, []
        self._text(text, logprobs)

    def _prove(self) -> None:
        """Show a structured answer as it arrives, once it looks like the JSON it has to be."""
        begun = self.held.lstrip()
        self._is_unproven = not begun
        if begun.startswith(("{", "[")):
            self._holds = False
            logprobs, self._waiting = self._waiting, []
            self._text(self.held, logprobs)
            self.release()

    def _text(self, text: str, logprobs: Logprobs | None) -> None:
        if self._kind != "message":
            self._open_message()
        if logprobs:
            self._logprobs += logprobs
        self._texts.append(text)
        self._writer.text_delta(len(self.output), self._item_id, text, logprobs)

    def _open_message(self) -> None:
        self._close()
        self._kind = "message"
        self._item_id = self._ids.message()
        self._writer.message_opened(len(self.output), self._item_id, self._provider_data)

    def _calls(self, calls: Any) -> None:
        if not isinstance(calls, list):
            raise self._strange("tool_calls that are no list")
        for call in cast("list[Any]", calls):
            function = cast("Any", call).get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping):
                raise self._strange("a tool call without a function")
            sent = cast("Mapping[str, Any]", call)
            asked = cast("Mapping[str, Any]", function)
            found = (asked.get("name"), asked.get("arguments"), sent.get("id"))
            if self.request.must_call:
                self.held_calls.append(found)
            else:
                self.add_call(*found)

    def _done(self, chunk: Mapping[str, Any]) -> None:
        self.done = True
        reason = chunk.get("done_reason")
        self.done_reason = reason if isinstance(reason, str) else None
        self.counts.add(chunk)
        if self._answer is not None:
            self._held = [self._answer.rest()]

    def _close(self, status: str = "completed") -> None:
        """Close the open item, if there is one."""
        if not self._kind:
            return
        index, text = len(self.output), "".join(self._texts)
        if self._kind == "message":
            message = message_item(self._item_id, text, self._logprobs, self._provider_data, status)
            self._writer.message_closed(index, message, self._logprobs)
            self.output.append(message)
        else:
            data: dict[str, Any] = self._provider_data
            if self._logprobs:
                data = {**data, "logprobs": self._logprobs}
            reasoning = reasoning_item(text, data, None if status == "completed" else status)
            self._writer.reasoning_closed(index, reasoning)
            self.output.append(reasoning)
        self._kind, self._texts, self._logprobs = "", [], []

    def _close_last(self, status: str) -> None:
        # Waiting logprobs are the open item's, or of markers behind the last call, which has gone.
        self._logprobs += self._waiting
        self._close(status)

    def _data_with_logprobs(self) -> dict[str, Any]:
        if not self._waiting:
            return self._provider_data
        logprobs, self._waiting = self._waiting, []
        return {**self._provider_data, "logprobs": logprobs}

    def _usage(self, *, raw_usage: bool = False) -> Any:
        counts = self.counts
        more = self.raw_usage() if raw_usage else {}
        return usage(counts.input_tokens, counts.output_tokens, counts.cached_tokens, **more)

    def _checked(self, text: Any, name: str) -> str:
        if isinstance(text, str):
            return text
        raise self._strange(f"{name} that is no text")

    def _read_logprobs(self, entries: Any) -> Logprobs:
        try:
            return read_logprobs(entries)
        except ValueError as exc:
            raise self._strange("logprobs that are no list of tokens") from exc

    def _unusable(self, call: str) -> ModelOutputError:
        return ModelOutputError(
            f"{self.origin.model!r} called {self.origin.clean(call)}. Another try may do better: "
            "ModelSettings(retry=…) repeats it.",
            **self.origin.where(),
        )

    def _strange(self, what: str) -> OllamaStreamError:
        return OllamaStreamError(
            f"{self.origin.host} sent {self.origin.clean(what)} where a line of an Ollama answer "
            "belongs. Is base_url the root of an Ollama server?",
            **self.origin.where(),
        )


def claim_call_id(call_id: Any, used: set[str], new: Callable[[], str]) -> str:
    """The server's *call_id* when it is valid and not *used*, else a *new* one; then it is used."""
    claimed = call_id if isinstance(call_id, str) and _CALL_ID.fullmatch(call_id) else new()
    if claimed in used:
        claimed = new()
    used.add(claimed)
    return claimed


def text_of_arguments(arguments: Any) -> str:
    """*arguments* as the JSON text OpenAI uses; text stays as it is.

    Raises:
        ValueError: They hold what JSON cannot say.
    """
    if isinstance(arguments, str):
        return arguments or "{}"
    try:
        return json.dumps(
            {} if arguments is None else arguments, ensure_ascii=False, allow_nan=False
        )
    except (TypeError, RecursionError) as exc:  # only a foreign client's objects get here
        raise ValueError("arguments") from exc


def count(chunk: Mapping[str, Any], name: str) -> int:
    """The count *name* of the last line; 0 when it is absent, because the server omits zeros."""
    value = chunk.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
