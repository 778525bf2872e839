"""Keeps keys, and whatever else a pattern matches, out of the store. Pure.

A batch of events goes through up to four states, and most batches stop at the first:

1. **unseen**: a search over all its bytes, with JSON escapes undone and streamed texts joined, says
   whether anything in it may have to be hidden. If not, the batch is stored as it is.
2. **suspected**: each text and body is searched alone; those with nothing to hide stay as they are,
   byte for byte.
3. **read**: a body with something to hide is read as JSON, line by line, because a key may be
   written with escapes. What is not JSON is searched as text.
4. **redacted**: every string in it, names of members too, is replaced by what may be stored. A
   streamed text comes in pieces, and a key rarely in one of them, so the whole text moves to the
   first piece.

`timestep.net.secrets` says what keys look like.
"""

import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, cast

from timestep.net.secrets import KEY_BOUNDARY, KEY_PATTERNS, OLLAMA_KEY, masker
from timestep.net.setting_values import check_pattern
from timestep.traces.columns import read
from timestep.traces.records import (
    Copied,
    Event,
    Exchange,
    SpanEnded,
    SpanStarted,
    TraceStarted,
)

MASK = "[redacted]"

_OLLAMA_SIGN = re.compile(r"\.[A-Za-z0-9_-]{20}")

_STREAMED_NAMES = (
    "arguments",
    "content",
    "data",
    "input",
    "reasoning",
    "reasoning_content",
    "refusal",
    "summary",
    "text",
    "thinking",
)
"""The members of a chunk whose texts belong together, at Ollama and in chat completions."""

_EVENT = "data: "
"""What stands before the JSON of a server-sent event."""

_STREAMED = {
    name: re.compile(rf'"{name}"\s*:\s*"((?>[^"\\]*(?:\\.[^"\\]*)*))"'.encode(), re.DOTALL)
    for name in _STREAMED_NAMES
}
_STREAMED_BY_OLLAMA = ("content", "thinking")
"""The members that Ollama streams: lines that begin with an object, not with ``data:``."""

# Few words have so many characters of a key in a row. Looking for such runs in bytes, and for keys
# only there, is fifty times as fast as looking for each kind of key everywhere.
_KEY_LENGTH = 15
_KEY_CHARACTERS = (string.ascii_letters + string.digits + "._~+/=-").encode()
_KEY_LIKE = bytes(b"x"[0] if code in _KEY_CHARACTERS else b" "[0] for code in range(256))
_BEFORE_KEY = len("bearer ") + 1


class Redaction:
    """Replaces keys, *secrets* and matches of *patterns* by ``[redacted]``.

    Args:
        patterns: Regular expressions, as Python's ``re`` reads them.
        secrets: Exact texts that must never be stored, such as the configured keys.

    Raises:
        ValueError: A pattern is not a regular expression, or matches everywhere; or an argument is not a list of texts.
    """

    def __init__(self, patterns: Iterable[str] = (), secrets: Iterable[str] = ()) -> None:
        self._secrets = [secret for secret in _texts("secrets", secrets) if secret]
        self._masked = masker(self._secrets, MASK)
        self._may_be_escaped = any(
            json.dumps(each)[1:-1] != each or "/" in each for each in self._secrets
        )
        given = _texts("redact", patterns)
        try:
            self._patterns = [re.compile(check_pattern(pattern)) for pattern in given]
        except ValueError as exc:
            raise ValueError(f"redact: {exc}.") from exc

    def events(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return *events* without what must not be stored, or the same ones if nothing must go."""
        # A search over everything is cheap, and almost always enough.
        if not self._may_hide_in(*_contents(events)):
            return events
        return [self._event(event) for event in events]

    def each(self, events: Sequence[Event | Copied]) -> tuple[Sequence[Event], list[str]]:
        """Return what to store of *events*, without those that cannot be read, and why not."""
        try:
            return self.events([read(event) for event in events]), []
        except Exception as exc:  # noqa: BLE001 - content may be anything
            if len(events) == 1:
                return [], [f"{type(exc).__name__} while redacting"]
        parts = [self.each([event]) for event in events]
        return [clean for part, _ in parts for clean in part], [
            why for _, whys in parts for why in whys
        ]

    def text(self, text: str) -> str:
        """Return *text* without what must not be stored."""
        text = self._masked(text)
        for pattern in (*self._patterns, *_possible_keys(text)):
            text = pattern.sub(MASK, text)
        return text

    def json(self, text: str) -> str:
        """Return the JSON *text* with its strings redacted, names of members too."""
        if not self._may_hide_in([text.encode(errors="replace")]):
            return text
        try:
            return _dump(_map_strings(json.loads(text), self.text))
        except RecursionError:  # deep nesting must not show what is secret
            return self.text(text)

    def body(self, body: bytes) -> bytes:
        """Return the redacted *body* of a request or answer.

        It is JSON, lines of JSON, server-sent events with JSON, or anything else. A body with nothing to hide stays as it is, byte for byte.
        """
        if not self._may_hide_in([], [body]):
            return body
        text = body.decode(errors="replace")
        try:
            lines = text.split("\n")
            if not any(line.startswith("data:") for line in lines):
                lines = [line for line in lines if line.strip()]  # blanks end events
            heads = [_EVENT if line.startswith("data:") else "" for line in lines]
            values = [
                _parse(line.removeprefix("data:").removeprefix(" ") if head else line)
                for head, line in zip(heads, lines, strict=True)
            ]
            if all(isinstance(value, _NoJson) for value in values):
                return self.text(text).encode()
            if not self._hides(values):
                return body
            joined = zip(heads, self._join_stream(values), strict=True)
            lines = [head + self._line(value) for head, value in joined]
        except RecursionError:  # as above
            return self.text(text).encode()
        # Half a surrogate pair is written as JSON escapes it.
        cleaned = "\n".join(lines).encode(errors="backslashreplace")
        return cleaned + (b"\n" if body.endswith(b"\n") else b"")

    def _line(self, value: Any) -> str:
        cleaned = _map_strings(value, self.text)
        return cleaned if isinstance(value, _NoJson) else _dump(cleaned)

    def _event(self, event: Event) -> Event:
        match event:
            case TraceStarted():
                return event._replace(
                    name=self.text(event.name),
                    group_id=self._text(event.group_id),
                    metadata=None if event.metadata is None else self.json(event.metadata),
                )
            case SpanStarted():
                return event._replace(
                    name=self.text(event.name), question=self._text(event.question)
                )
            case SpanEnded():
                return event._replace(
                    name=self.text(event.name),
                    error=None if event.error is None else self.json(event.error),
                    data=self.json(event.data),
                    text=self.text(event.text),
                    model=self._text(event.model),
                    question=self._text(event.question),
                    answer=self._text(event.answer),
                    exchanges=tuple(self._exchange(exchange) for exchange in event.exchanges),
                )
            case _:
                return event

    def _text(self, text: str | None) -> str | None:
        return None if text is None else self.text(text)

    def _exchange(self, exchange: Exchange) -> Exchange:
        return exchange._replace(
            request=self.body(exchange.request), response=self.body(exchange.response)
        )

    def _may_hide_in(self, contents: list[bytes], streams: Sequence[bytes] = ()) -> bool:
        """Return False when *contents*, *streams* and the texts streamed in them are all clean.

        A pattern may match only the decoded text, so with patterns everything is suspected.
        """
        if self._patterns:
            return True
        joined = [
            b"".join(_STREAMED[name].findall(stream))
            for stream in streams
            for name in (_STREAMED_BY_OLLAMA if stream.startswith(b"{") else _STREAMED_NAMES)
            if f'"{name}"'.encode() in stream
        ]
        # Streams are long: all in one text, they would not fit into the processor's caches.
        return any(map(self._may_hide, [b"\n".join([*contents, *joined]), *streams]))

    def _may_hide(self, content: bytes) -> bool:
        if any(secret.encode(errors="replace") in content for secret in self._secrets):
            return True
        if self._may_be_escaped and b"\\" in content:
            return True
        suspects = _suspects(_unescaped(content))
        return bool(suspects) and _may_hold_key(suspects.decode(errors="replace"))

    def _hides(self, values: list[Any]) -> bool:
        """Return whether a string in *values*, or a text streamed through them, must be redacted."""
        streamed = [
            "".join(
                part
                for value in values
                for message in _messages(value)
                if isinstance(part := message.get(name), str)
            )
            for name in _STREAMED_NAMES
        ]
        return any(self.text(text) != text for text in (*streamed, *_strings(values)))

    def _join_stream(self, values: list[Any]) -> list[Any]:
        """Return *values* with each streamed text moved whole to the first chunk that has a part.

        Only a text with something to hide is moved, because its parts cannot be redacted alone.
        """
        for name in _STREAMED_NAMES:
            parts = [
                message
                for value in values
                for message in _messages(value)
                if isinstance(message.get(name), str)
            ]
            joined = "".join(part[name] for part in parts)
            if len(parts) > 1 and self.text(joined) != joined:
                for part in parts:
                    part[name] = ""
                parts[0][name] = self.text(joined)
        return values


class _NoJson(str):
    """A line of a body that is not JSON, such as the last one of a stream that broke off."""

    __slots__ = ()


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return _NoJson(line)


def _texts(name: str, given: Iterable[str]) -> list[str]:
    """Return *given* as a list; a single text would be read letter by letter."""
    texts: list[Any] = [given] if isinstance(given, str) else list(given)
    if isinstance(given, str) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} is not a list of strings; write one, as in {name}=['...'].")
    return texts


def _contents(events: Iterable[Event]) -> tuple[list[bytes], list[bytes]]:
    """Return all that *events* say: their texts and requests, and the answers, which may stream."""
    texts: list[str] = []
    requests: list[bytes] = []
    answers: list[bytes] = []
    for event in events:
        match event:
            case TraceStarted():
                texts += (event.name, event.group_id or "", event.metadata or "")
            case SpanStarted():
                texts += (event.name, event.question or "")
            case SpanEnded():
                texts += (event.name, event.model or "", event.error or "", event.data, event.text)
                texts += (event.question or "", event.answer or "")
                requests += [exchange.request for exchange in event.exchanges]
                answers += [exchange.response for exchange in event.exchanges]
            case _:
                pass
    return ["\n".join(texts).encode(errors="replace"), *requests], answers


def _unescaped(content: bytes) -> bytes:
    """Return JSON *content* with the escapes undone that a key may be written with."""
    if _ESCAPES.search(content):  # one look for both is faster than one for each
        content = content.replace(b"\\/", b"/")
        content = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), content)
    return content


def _may_hold_key(text: str) -> bool:
    """Return False when JSON *text* certainly holds no key."""
    return any(
        found.search(text)
        for (signs, _), found in zip(_COMPILED_KEYS, _KEYS_ANYWHERE, strict=True)
        if any(sign in text for sign in signs)
    ) or bool(_OLLAMA_SIGN.search(text) and _OLLAMA_KEY_ANYWHERE.search(text))


def _suspects(content: bytes) -> bytes:
    """Return the parts of *content* that may be keys. No key is outside of them."""
    if b"PRIVATE KEY-----" in content or (b"@" in content and b"://" in content):
        return content
    shape, run = content.translate(_KEY_LIKE) + b" ", b"x" * _KEY_LENGTH
    parts: list[bytes] = []
    start = shape.find(run)
    while start >= 0:
        end = shape.index(b" ", start)
        parts.append(content[max(0, start - _BEFORE_KEY) : end + 1])
        start = shape.find(run, end)
    return b"\n".join(parts)


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a chunk that hold streamed texts: a message, a delta, its parts and calls."""
    fields = _object(value)
    yield _object(fields.get("message"))
    for choice in _list(fields.get("choices")):
        delta = _object(_object(choice).get("delta"))
        yield delta
        yield _object(delta.get("function_call"))
        for call in _list(delta.get("tool_calls")):
            yield _object(_object(call).get("function"))
            yield _object(_object(call).get("custom"))
        for part in map(
            _object, (*_list(delta.get("reasoning_details")), *_list(delta.get("content")))
        ):
            yield part
            yield from map(_object, _list(part.get("thinking")))


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _possible_keys(text: str) -> list[re.Pattern[str]]:
    """Return the patterns of the keys that may be in *text*."""
    found = [pattern for signs, pattern in _COMPILED_KEYS if any(sign in text for sign in signs)]
    return [*found, _COMPILED_OLLAMA_KEY] if _OLLAMA_SIGN.search(text) else found


_COMPILED_KEYS = [
    (signs, re.compile(pattern.replace(r"\b", KEY_BOUNDARY))) for signs, pattern in KEY_PATTERNS
]
_KEYS_ANYWHERE = [re.compile(pattern.replace(r"\b", "")) for _, pattern in KEY_PATTERNS]
_COMPILED_OLLAMA_KEY = re.compile(OLLAMA_KEY.replace(r"\b", KEY_BOUNDARY))
_OLLAMA_KEY_ANYWHERE = re.compile(OLLAMA_KEY.replace(r"\b", ""))
_ESCAPES = re.compile(rb"\\(?:/|u00)")
_ESCAPE = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")


def _strings(value: Any) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _map_strings(value, note)
    return found


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for name, member in cast("dict[str, Any]", value).items():
            members[_unused(change(name), members)] = _map_strings(member, change)
        return members
    if isinstance(value, list):
        return [_map_strings(item, change) for item in cast("list[Any]", value)]
    return value


def _unused(name: str, members: dict[str, Any]) -> str:
    """Return *name*, numbered if it is taken: two redacted names must not become one member."""
    if name not in members:
        return name
    return next(new for n in count(2) if (new := f"{name} {n}") not in members)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
