"""One answer of OpenAI's APIs under status 200: what the SDK's models get of it, or an error. Pure.

Whatever a server says of a failure appears in errors, spans and logs, so a key it repeats is taken
out first.
"""

import json
import re
from typing import Any, cast

from timestep.errors import BrokenAnswerError
from timestep.net.limits import LONGEST_WITH_IMAGES
from timestep.net.origin import Origin
from timestep.openai.server_errors import is_error, said_error
from timestep.openai.sse import EventSplitter, ServerSentEvent
from timestep.openai.whole_calls import refuse_half
from timestep.openai.wire_errors import broken, object_in

_TERMINAL = {"response.completed", "response.failed", "response.incomplete", "error"}
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_UNFINISHED = ("queued", "in_progress", "cancelled")


class CheckedResponse:
    """One answer under status 200: what it must be, and the errors for what it is not."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin  # who answers, and what nothing may repeat
        self.is_whole = False  # True once a stream may end, even by a broken connection
        self.is_ended = False  # after the last event nothing counts
        self._may_be_done = False  # [DONE] alone would end it, if the body ends properly too

    def broken(self, what: str) -> BrokenAnswerError:
        """Return the error for a broken answer; *what* says how it is broken."""
        return broken(what, self.origin)

    def check_whole(self, body: bytes) -> bytes:
        """Return what the SDK gets of the whole answer *body*."""
        splitter = EventSplitter(LONGEST_WITH_IMAGES)
        if events := [*splitter.feed(body), *splitter.flush()]:
            body = self._last_response(events)
        document = self._document(body)
        if document.get("output") is None and is_error(document):
            raise said_error(document, self.origin)
        self._check_end(document)
        return self._masked(document) if document.get("error") else body

    def not_events(self, body: bytes) -> Exception:
        """The error for *body*, which came in the place of a stream of events."""
        document = self._document(body)
        if is_error(document):
            return said_error(document, self.origin)
        return self.broken("answered with JSON instead of the stream it was asked for")

    def check_event(self, name: str, data: bytes) -> bytes:
        """Return what the SDK gets of the event *name* with *data*; nothing when it has none."""
        data = data.strip()
        if self.is_ended or not data:
            return b""
        if data.startswith(b"[DONE]"):
            if not (self.is_whole or self._may_be_done):
                raise self.broken("ended its stream before the answer")
            self.is_ended = True
            return b"data: [DONE]\n\n" if self.is_whole else b""  # the SDK would not read on
        event = self._object(data, "sent an event")
        if self._is_error(event, name):
            raise said_error(event, self.origin)
        if not self._note(event):
            return b"data: " + self._masked(event) + b"\n\n"
        lines = data.replace(b"\n", b"\ndata: ")
        return (f"event: {name}\n".encode() if name else b"") + b"data: " + lines + b"\n\n"

    def _last_response(self, events: list[ServerSentEvent]) -> bytes:
        """Return the answer that *events* end with: some servers stream unasked."""
        for name, data in events:
            if self.check_event(name, data) and self.is_whole:
                last = self._object(data, "sent an event")
                if last.get("type") == "error":
                    raise said_error(last, self.origin)
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
        if _is_object(found := event.get("response")) and kind == "response.completed":
            response = cast("dict[str, Any]", found)
            if response.get("status") == "failed":
                event["type"] = kind = "response.failed"
            else:
                self._check_end(response)
        self.is_ended = self.is_whole = kind in _TERMINAL
        return kind not in {"response.failed", "error"}

    def _check_end(self, response: dict[str, Any]) -> None:
        """Refuse *response*, which came as a finished answer, when its own status says otherwise."""
        status, output = response.get("status"), response.get("output")
        if status in _UNFINISHED:
            raise self.broken(f"ended its answer with the status {status!r}")
        if status == "completed" and response.get("error"):
            raise said_error(response, self.origin)
        if not _are_objects(output) or not isinstance(response.get("id"), str | None):
            raise self.broken("answered with what is not an answer")
        for item in cast("list[dict[str, Any]]", output):
            self._check_item(item)
        refuse_half(response, self.origin.host)  # the SDK refuses it later, in other words

    def _check_item(self, item: dict[str, Any]) -> None:
        """Refuse *item* of an answer when the SDK's model would fail to read it."""
        kind, parts = item.get("type"), item.get("content")
        texts: list[object] = [kind]
        if kind == "function_call":
            texts += [item.get(name) for name in ("name", "arguments", "call_id")]
        elif kind == "message" and _are_objects(parts):
            said = cast("list[dict[str, Any]]", parts)
            texts += [each.get("text") for each in said if each.get("type") == "output_text"]
        elif kind == "message":
            texts.append(None)
        # An item goes back with the next request, which half of a surrogate pair cannot.
        if not all(isinstance(each, str) and not _HALF_PAIR.search(each) for each in texts):
            raise self.broken("sent an item that is not a piece of an answer")

    def _document(self, body: bytes) -> dict[str, Any]:
        if not body.strip():
            raise self.broken("answered with nothing")
        return self._object(body, "answered with something")

    def _object(self, data: bytes, what: str) -> dict[str, Any]:
        # A delta may hold half of a surrogate pair, which the next one completes.
        return object_in(data, what, self.origin, json.loads)

    def _masked(self, document: object) -> bytes:
        return json.dumps(self.origin.masked(document)).encode()


class CheckedCompletion(CheckedResponse):
    """The same for a chat completion. Its calls are checked by `timestep.openai.whole_calls`."""

    def check_whole(self, body: bytes) -> bytes:
        """Return what the SDK gets of the whole answer *body*."""
        document = self._document(body)
        if is_error(document):
            raise said_error(document, self.origin)
        if not self._note(document):
            raise self.broken("answered with JSON that is not an answer")
        return body

    def _is_error(self, event: dict[str, Any], name: str) -> bool:
        return is_error(event, name)

    def _note(self, event: dict[str, Any]) -> bool:
        if not _are_objects(choices := event.get("choices")):
            return False
        for choice in cast("list[dict[str, Any]]", choices)[:1]:
            if choice.get("error"):
                raise said_error(choice, self.origin)
            self._may_be_done = True
            self.is_whole = self.is_whole or bool(choice.get("finish_reason"))
        return True


def _are_objects(entries: object) -> bool:
    """True when *entries* are a list of JSON objects."""
    return isinstance(entries, list) and all(map(_is_object, cast("list[object]", entries)))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
