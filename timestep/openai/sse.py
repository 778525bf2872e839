"""Server-sent events, read from the bytes of a body. Pure.

A reader passes these states:

    unread    Nothing but white space has come.
    events    The body is a stream of server-sent events.
    document  The body began as JSON or HTML does: the server answered whole, or with an error. It is
              kept to its end.

Source: the WHATWG HTML standard, section "Server-sent events" (parsing an event stream). One rule is
milder than the standard: an event that the end of the body cuts off is kept, because servers leave
out the last blank line.
"""

from typing import TypeAlias

from timestep.net.limits import LONGEST_JSON, MOST_DATA_LINES, MOST_EMPTY_LINES
from timestep.net.lines import LineSplitter

_BOM = b"\xef\xbb\xbf"
_DOCUMENT = (b"{", b"[", b"<")


ServerSentEvent: TypeAlias = tuple[str, bytes]
"""The value of an event's ``event`` field, empty when the server sent none, and the values of its
``data`` fields, joined by newlines."""


class EventSplitter:
    """Cuts a byte stream into its events, for every split of the bytes.

    Lines end at CR, LF or CRLF and at no other character. Comments, unknown fields and events without
    data are skipped; so are keepalives such as a line of one space or of NUL bytes, or an event ``ping``.

    Args:
        longest: How many bytes an event or a document may have.
    """

    __slots__ = (
        "_after_cr",
        "_begin",
        "_data",
        "_idle_lines",
        "_is_unread",
        "_lines",
        "_longest",
        "_name",
        "_size",
        "document",
        "excess",
    )

    def __init__(self, longest: int = LONGEST_JSON) -> None:
        self._longest = longest
        self._begin: bytes | None = b""  # while these bytes may become a byte order mark
        self._is_unread = True
        self.document: bytearray | None = None  # the body so far, if it is not a stream of events
        self._lines = LineSplitter()
        self._data: list[bytes] = []
        self._size = 0  # of the event so far
        self._name = ""
        self._after_cr = False
        self._idle_lines = 0  # that belong to no event
        self.excess = ""  # what there is too much of; nothing is read after it

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that *data* completes."""
        if self._begin is not None:
            data = self._without_bom(self._begin + data)
        if self._is_unread:
            data = self._begun(data.lstrip())
        if self.document is not None:
            self.document += data
            self._check_size("a document", len(self.document))
            return []
        if self._after_cr or b"\r" in data:
            data = self._with_plain_line_ends(data)
        events = self._events(self._lines.feed(data))
        self._check_size("an event", self._size + self._lines.waiting)
        return events

    def flush(self) -> list[ServerSentEvent]:
        """Return the last event, when the body ended without a blank line behind it."""
        return self._events([*self._lines.flush(), b""])

    def _without_bom(self, data: bytes) -> bytes:
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._begin = data
            return b""
        self._begin = None
        return data.removeprefix(_BOM)

    def _begun(self, data: bytes) -> bytes:
        """Return *data*, after its first bytes said what the body is."""
        if data:
            self._is_unread = False
            if data.startswith(_DOCUMENT):
                self.document = bytearray()
        return data

    def _check_size(self, what: str, size: int) -> None:
        if size > self._longest and not self.excess:
            self.excess = f"{what} of more than {self._longest >> 20} MiB"

    def _with_plain_line_ends(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data, self._after_cr = data[1:], False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _events(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for line in lines:
            self._size += len(line)
            if self._size > self._longest:
                self._check_size("an event", self._size)
            if self.excess:
                break
            if not line:
                self._size = 0
                if self._data and self._name != "ping":
                    events.append((self._name, b"\n".join(self._data)))
                else:
                    self._skip()
                self._data = []
                self._name = ""
            elif line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif line.startswith(b"event:"):
                self._name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
            elif line == b"data":
                self._add(b"")
            else:
                self._skip()
        return events

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        if len(self._data) > MOST_DATA_LINES:
            self.excess = f"an event of more than {MOST_DATA_LINES:,} lines"

    def _skip(self) -> None:
        self._idle_lines += 1
        if self._idle_lines > MOST_EMPTY_LINES:
            self.excess = f"more than {MOST_EMPTY_LINES:,} lines that belong to no event"
