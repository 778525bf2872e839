"""One answer of OpenAI's APIs under status 200: what the SDK's models get of it, or an error. Pure.

Whatever a server says of a failure appears in errors, spans and logs, so a key it repeats is taken
out first.
"""

import json
import re
from collections.abc import Callable
from typing import Any, cast

import httpx2

from timestep.errors import BrokenAnswerError
from timestep.net.limits import LONGEST_WITH_IMAGES, MOST_VALUES, has_too_many_values
from timestep.net.origin import Origin
from timestep.net.secrets import masked_json
from timestep.net.urls import authority
from timestep.openai.failures import broken
from timestep.openai.refusals import is_error, said_error
from timestep.openai.sse import EventSplitter, ServerSentEvent
from timestep.openai.whole_calls import refuse_half

NOT_JSON = object()
"""What `parsed` returns for a text that is not JSON."""

_TERMINAL = {"response.completed", "response.failed", "response.incomplete", "error"}
_UNFINISHED = ("queued", "in_progress", "cancelled")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class CheckedResponse:
    """One answer under status 200: what it must be, and the errors for what it is not."""

    def __init__(self, request: httpx2.Request, mask: Callable[[str], str]) -> None:
        self.mask = mask  # takes secrets out of a text
        self.is_whole = False  # True once a stream may end
        self._is_ended = False  # after its last event, nothing counts
        self._may_be_done = False  # [DONE] alone would end it
        url = str(request.url)
        self._origin = Origin(None, authority(url), url=url)

    def broken(self, what: str) -> BrokenAnswerError:
        """Return the error for a broken answer; *what* says how it is broken."""
        return broken(what, self._origin)

    def check_whole(self, body: bytes) -> bytes:
        """Return what the SDK gets of the whole answer *body*."""
        splitter = EventSplitter(LONGEST_WITH_IMAGES)
        if events := [*splitter.feed(body), *splitter.flush()]:
            body = self._last_response(events)
        document = self._object_in(body)
        if document.get("output") is None and is_error(document):
            raise self._refusal(document)
        if not _are_objects(document.get("output")):
            raise self.broken("answered with JSON that is not an answer")
        self._check_end(document)
        self._check_counts(document)
        return self._masked_text(document) if document.get("error") else body

    def not_events(self, body: bytes) -> Exception:
        """The error for *body*, which came in the place of a stream of events."""
        try:
            document = self._object_in(body)
        except BrokenAnswerError as exc:
            return exc
        if is_error(document):
            return self._refusal(document)
        return self.broken("answered with JSON and not with the stream it was asked for")

    def check_event(self, name: str, data: bytes) -> bytes:
        """Return what the SDK gets of the event *name* with *data*; nothing when it has none."""
        data = data.strip()
        if self._is_ended or not data:
            return b""
        if data.startswith(b"[DONE]"):
            if not (self.is_whole or self._may_be_done):
                raise self.broken("ended its stream before the answer")
            self._is_ended = self.is_whole = True
            return b"data: [DONE]\n\n"
        event = self._event_in(data)
        if self._is_error(event, name):
            raise self._refusal(event)
        if not self._note(event):
            return b"data: " + self._masked_text(event) + b"\n\n"
        lines = data.replace(b"\n", b"\ndata: ")
        return (f"event: {name}\n".encode() if name else b"") + b"data: " + lines + b"\n\n"

    def _last_response(self, events: list[ServerSentEvent]) -> bytes:
        """Return the answer that *events* end with: some servers stream unasked."""
        for name, data in events:
            if self.check_event(name, data) and self.is_whole:
                last = self._event_in(data)
                if last.get("type") == "error":
                    raise self._refusal(last)
                return json.dumps(last.get("response")).encode()
        raise self.broken("broke off its answer")

    def _is_error(self, event: dict[str, Any], name: str) -> bool:
        """True for an error in another shape than that of the API's own events."""
        kind = str(event.get("type"))
        is_own = kind == "error" or kind.startswith("response.")
        return bool(event.get("error")) or (not is_own and is_error(event, name))

    def _note(self, event: dict[str, Any]) -> bool:
        """Note how far *event* brings the answer; False when it reports a failure."""
        kind = event.get("type")
        if not isinstance(kind, str):
            raise self.broken("sent an event that is not a piece of an answer")
        if _is_object(item := event.get("item")) and kind.endswith(".done"):
            self._check_item(cast("dict[str, Any]", item))
        if _is_object(found := event.get("response")):
            response = cast("dict[str, Any]", found)
            self._check_counts(response)
            if kind == "response.completed" and response.get("status") == "failed":
                event["type"] = kind = "response.failed"
            if kind == "response.completed":
                self._check_end(response)
        self._is_ended = self.is_whole = kind in _TERMINAL
        return kind not in {"response.failed", "error"}

    def _check_end(self, response: dict[str, Any]) -> None:
        """Refuse *response*, which came as a finished answer, when its own status says otherwise."""
        status, output = response.get("status"), response.get("output")
        if status in _UNFINISHED:
            raise self.broken(f"ended its answer with the status {status!r}")
        if status == "completed" and response.get("error"):
            raise self._refusal(response)
        if not _are_objects(output) or not isinstance(response.get("id"), str | None):
            raise self.broken("ended its answer with what is not an answer")
        for item in cast("list[dict[str, Any]]", output):
            self._check_item(item)
        refuse_half(response, self._origin.host)  # the SDK refuses it later, in other words

    def _check_item(self, item: dict[str, Any]) -> None:
        """Refuse *item* of an answer when the SDK's model would fail to read it."""
        kind, parts = item.get("type"), item.get("content")
        texts: list[object] = [kind]
        if kind == "function_call":
            texts += [item.get(name) for name in ("name", "arguments", "call_id")]
        elif kind == "message" and _are_objects(parts):
            said = cast("list[dict[str, Any]]", parts)
            shown = [each.get("text") for each in said if each.get("type") == "output_text"]
            texts.append("" if all(isinstance(each, str) for each in shown) else None)
        elif kind == "message":
            texts.append(None)
        if not all(map(_is_text, texts)):
            raise self.broken("sent an item that is not a piece of an answer")

    def _check_counts(self, response: dict[str, Any]) -> None:
        """Refuse counts that are not numbers: the SDK's own error would repeat them."""
        usage = response.get("usage")
        if usage is not None and not _are_counts(usage):
            raise self.broken("counted tokens with something else than numbers")

    def _check_values(self, text: bytes) -> None:
        if has_too_many_values(text):
            raise self.broken(f"sent JSON of more than {MOST_VALUES:,} values")

    def _event_in(self, data: bytes) -> dict[str, Any]:
        self._check_values(data)
        event = parsed(data) if _is_utf8(data) else NOT_JSON
        if event is NOT_JSON:
            raise self.broken("sent an event that is not JSON")
        if not isinstance(event, dict):
            raise self.broken("sent an event that is not a JSON object")
        return cast("dict[str, Any]", event)

    def _object_in(self, body: bytes) -> dict[str, Any]:
        if not body.strip():
            raise self.broken("answered with nothing")
        self._check_values(body)
        document = parsed(body)
        if document is NOT_JSON:
            what = "a page of HTML" if body.lstrip().startswith(b"<") else "what is not JSON"
            raise self.broken(f"answered with {what}")
        if not isinstance(document, dict):
            raise self.broken("answered with JSON that is not an object")
        return cast("dict[str, Any]", document)

    def _refusal(self, error: object) -> Exception:
        return said_error(masked_json(error, self.mask), self._origin)

    def _masked_text(self, document: object) -> bytes:
        return json.dumps(masked_json(document, self.mask)).encode()


class CheckedCompletion(CheckedResponse):
    """The same for a chat completion. Its calls are checked by `timestep.openai.whole_calls`."""

    def check_whole(self, body: bytes) -> bytes:
        """Return what the SDK gets of the whole answer *body*."""
        document = self._object_in(body)
        if is_error(document):
            raise self._refusal(document)
        if not _are_objects(document.get("choices")):
            raise self.broken("answered with JSON that is not an answer")
        self._note(document)
        return body

    def _is_error(self, event: dict[str, Any], name: str) -> bool:
        return is_error(event, name)

    def _note(self, event: dict[str, Any]) -> bool:
        usage = event.get("usage")
        if isinstance(usage, dict):  # some servers add more than counts
            usage = {name: cast("dict[str, Any]", usage).get(name) for name in _COUNTS}
        self._check_counts({"usage": usage})
        if not _are_objects(choices := event.get("choices")):
            return False
        for choice in cast("list[dict[str, Any]]", choices)[:1]:
            if choice.get("error"):
                raise self._refusal(choice)
            self._may_be_done = True
            self.is_whole = self.is_whole or bool(choice.get("finish_reason"))
        return True


def parsed(text: bytes | bytearray) -> object:
    """Return the JSON value of *text*, or `NOT_JSON`. An error of json's would hold the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except ValueError:
        return False
    return True


def _are_counts(usage: object) -> bool:
    """True for numbers, and objects of numbers."""
    if isinstance(usage, dict):
        return all(map(_are_counts, cast("dict[str, object]", usage).values()))
    return usage is None or (isinstance(usage, int | float) and not isinstance(usage, bool))


def _is_text(value: object) -> bool:
    """True for text that can be sent back: it holds no half of a surrogate pair."""
    return isinstance(value, str) and (value.isascii() or not _HALF_PAIR.search(value))


def _are_objects(entries: object) -> bool:
    """True when *entries* are a list of JSON objects."""
    return isinstance(entries, list) and all(map(_is_object, cast("list[object]", entries)))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
