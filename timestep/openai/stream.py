"""One answer of ``/chat/completions``, read into chunks. Pure.

A body that is one JSON document is read as one event. An answer is whole if ``[DONE]`` follows its
finish reason, or if the HTTP body ends properly after either of the two. Any other answer broke off.

Source: the recordings in ``tests/wire-openai``.
"""

from timestep.answer.chunks import BrokenEnd, Chunk
from timestep.errors import TimestepError
from timestep.net.origin import Origin
from timestep.openai.completion import Completion
from timestep.openai.server_errors import is_error, said_error
from timestep.openai.sse import EventSplitter, ServerSentEvent
from timestep.openai.wire_errors import broken, object_in


class ChatReader:
    """Reads one answer.

    Something that is not part of an answer becomes a `BrokenEnd`, so that the chunks before it are not
    lost.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._completion = Completion(origin)
        self._events = EventSplitter()
        self._is_done = False  # [DONE] has come
        self._has_ended = False

    @property
    def is_whole(self) -> bool:
        """True once a finish reason has come: a connection that breaks then loses nothing."""
        return self._completion.reason is not None

    @property
    def ignored(self) -> list[str]:
        """What was left out of the answer so far, a phrase each."""
        return sorted(self._completion.ignored)

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks of the events that *data* completes."""
        chunks = self._read(self._events.feed(data))
        return [*chunks, *self._too_much(excess)] if (excess := self._events.excess) else chunks

    def _too_much(self, what: str) -> list[Chunk]:
        """Return the failure of an answer that holds *what*; nothing once it has ended."""
        if self._has_ended:
            return []
        self._has_ended = True
        return [BrokenEnd(broken(f"sent {what}", self._origin))]

    def end_of_body(self) -> list[Chunk]:
        """Return the chunks of what is left; a `BrokenEnd` if the answer is not whole."""
        if self._has_ended:
            return []
        if self._events.document is not None:
            return self._read_document(bytes(self._events.document))
        chunks = self._read(self._events.flush())
        if self._has_ended:
            return chunks
        begun = self._completion.has_begun
        try:
            if self._completion.reason is None and not (self._is_done and begun):
                what = "broke off its answer" if begun else "answered with nothing"
                raise broken(what, self._origin)
            self._end(chunks)
        except TimestepError as exc:
            chunks.append(BrokenEnd(exc))
        return chunks

    def _read(self, events: list[ServerSentEvent]) -> list[Chunk]:
        chunks: list[Chunk] = []
        try:
            for event in events:
                if not self._has_ended:
                    self._event(event, chunks)
        except TimestepError as exc:
            self._has_ended = True
            chunks.append(BrokenEnd(exc))
        return chunks

    def _event(self, event: ServerSentEvent, chunks: list[Chunk]) -> None:
        name, data = event
        data = data.strip()
        if data.startswith(b"[DONE]"):
            self._is_done = True
            if self._completion.reason is not None:
                self._end(chunks)
            return
        if not data:
            return
        fields = object_in(data, "sent an event", self._origin)
        if is_error(fields, name):
            raise said_error(fields, self._origin)
        self._completion.add(fields, chunks)

    def _read_document(self, body: bytes) -> list[Chunk]:
        chunks: list[Chunk] = []
        try:
            fields = object_in(body, "answered with something", self._origin)
            if is_error(fields):
                raise said_error(fields, self._origin)
            self._completion.add(fields, chunks)
            if not self._completion.has_begun:
                raise broken("answered with JSON that holds no choice", self._origin)
            if not isinstance(fields["choices"][0].get("message"), dict):
                raise broken("answered with a choice that has no message", self._origin)
            self._end(chunks)
        except TimestepError as exc:
            self._has_ended = True
            chunks.append(BrokenEnd(exc))
        return chunks

    def _end(self, chunks: list[Chunk]) -> None:
        self._has_ended = True
        self._completion.end(chunks)
