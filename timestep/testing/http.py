"""Just enough HTTP/1.1 to serve what an Ollama server serves. No sockets."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from typing import Any, Self, TypeAlias

from timestep.testing.faults import Fault, Piece

JSON_TYPE = "application/json; charset=utf-8"
NDJSON_TYPE = "application/x-ndjson"
TEXT_TYPE = "text/plain"

# net/http buffers this much of a body before it gives up on Content-Length.
_GO_BUFFER = 2048

Headers: TypeAlias = tuple[tuple[str, str], ...]


class BadRequestError(Exception):
    """The bytes on the connection are not an HTTP/1.1 request."""


@dataclass(frozen=True)
class Request:
    """One request as the client sent it."""

    method: str
    path: str  # without the query
    # By lower-case name; repeated ones joined by `", "`.
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    query: str = ""  # what follows the `?`, undecoded; empty without one

    @cached_property
    def json(self) -> Any:
        """The parsed body, up to the end of its first JSON value; ``None`` when it has none."""
        try:
            return json.JSONDecoder().raw_decode(self.body.decode(errors="replace").lstrip())[0]
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Response:
    """An answer ready to be sent."""

    status: int
    headers: Headers  # in the order they are sent, without framing and `Date`
    # The body in the pieces it is sent in, with the faults between them. Read once, while it is
    # sent, so it may be endless.
    pieces: Iterable[Piece]
    # The body's length in bytes; `None` sends a chunked body, one chunk a piece.
    length: int | None = None
    delay: float = 0.0  # seconds of silence before the first byte
    interval: float = 0.0  # seconds of silence before every further piece

    def with_faults(self, faults: Sequence[Fault]) -> Self:
        """Return the same response with *faults* while it is sent, the first one innermost."""
        pieces = self.pieces
        for fault in faults:
            pieces = fault.apply(pieces)
        # A broken body has no length to keep; and only in chunks does a client see the pieces.
        return replace(self, pieces=pieces, length=None if faults else self.length)

    def head(self) -> bytes:
        """Return the status line and the headers, with the blank line."""
        headers = dict(self.headers)
        headers.setdefault("Date", formatdate(usegmt=True))
        if self.length is None:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(self.length)
        lines = [f"HTTP/1.1 {self.status} {reason(self.status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(status: int, content_type: str, body: bytes, *headers: tuple[str, str]) -> Response:
    """Return a response with a complete body, framed as Go's net/http frames it."""
    all_headers = (("Content-Type", content_type), *headers)
    return Response(status, all_headers, [body], known_length(body))


def known_length(body: bytes) -> int | None:
    """Return the ``Content-Length`` Go's net/http sends with *body*; ``None`` if it sends chunks."""
    return len(body) if len(body) <= _GO_BUFFER else None


def reason(status: int) -> str:
    """Return the reason phrase Go's net/http sends for *status*."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status code {status}"


def chunk(data: bytes) -> bytes:
    """Return *data* as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Return the next request that *reader* gets.

    Raises:
        BadRequestError: That is not a request.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, headers = _parse_head(head.decode("latin-1").removesuffix("\r\n\r\n"))
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (ValueError, asyncio.LimitOverrunError) as exc:
        raise BadRequestError(f"not a request: {exc}") from exc
    path, _, query = target.partition("?")
    return Request(method, path, headers, body, query)


def _parse_head(head: str) -> tuple[str, str, dict[str, str]]:
    request_line, *lines = head.split("\r\n")
    method, target, version = request_line.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP/1.1: {version!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"not a header: {line!r}")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return method, target, headers


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body, size = b"", -1
    while size:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        body += (await reader.readexactly(size + 2))[:size]
    return body
