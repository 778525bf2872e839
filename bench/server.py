"""A loopback server as cheap as Python allows, for Ollama's and OpenAI's wire: ``python -m bench.server``.

It prints its port and serves until its standard input ends. A burst is one write; a paced answer is
one HTTP chunk in one TCP segment at a time, as a real server sends it.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from bench.answers import answer, ollama_lines, openai_events

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model": ?"(?:[a-z_]+/)?([^"]+)"')
_TOOL_RESULT = re.compile(rb'"role": ?"tool"')
_WHOLE = re.compile(rb'"stream": ?false')
_STREAMED = re.compile(rb'"stream": ?true')
_SHOW = {
    "capabilities": ["completion", "tools", "thinking"],
    "details": {"format": "gguf", "family": "llama"},
    "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
    "template": "{{ .Tools }}{{ .Prompt }}",
}

Responder = Callable[["Connection", bytes], None]


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out, one after another."""

    def __init__(self) -> None:
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop an answer that is no longer read."""
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._respond(head.split(b" ", 2)[1], body)

    def _respond(self, path: bytes, body: bytes) -> None:
        model = _MODEL.search(body)
        name = model[1].decode() if model else "text-1"
        turn = len(_TOOL_RESULT.findall(body)) if name.startswith("agent") else 0
        if path == b"/api/chat":
            self._send(_chat(name, turn, stream=_WHOLE.search(body) is None))
        elif path == b"/v1/chat/completions":
            self._send(_completion(name, turn, stream=_STREAMED.search(body) is not None))
        elif path == b"/api/show":
            self._transport.write(_json(_SHOW))
        elif path == b"/api/version":
            self._transport.write(_json({"version": "0.33.0"}))
        else:
            self._transport.write(_json({"error": f"{path.decode()} is not served"}))

    def _send(self, pieces: "Pieces") -> None:
        if pieces.every:
            self._transport.write(pieces.head)
            self._next(pieces, 0, asyncio.get_running_loop().time())
        else:
            self._transport.write(pieces.burst)

    def _next(self, pieces: "Pieces", number: int, due: float) -> None:
        self._transport.write(pieces.paced[number])
        if number + 1 < len(pieces.paced):
            due += pieces.every
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(due, self._next, pieces, number + 1, due)


class Pieces:
    """An answer ready to be sent.

    Attributes:
        every: Seconds between two pieces; 0 for a burst.
        head: The response head.
        paced: HTTP chunks; the last one ends the body.
        burst: All of it.
    """

    def __init__(self, kind: str, pieces: list[bytes], every: float) -> None:
        self.every = every
        self.head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ).encode()
        chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
        chunks[-1] += b"0\r\n\r\n"
        self.paced = chunks
        self.burst = self.head + b"".join(chunks)


@cache
def _chat(model: str, turn: int, *, stream: bool) -> Pieces:
    kind = "application/x-ndjson" if stream else "application/json"
    return Pieces(kind, ollama_lines(model, turn, stream=stream), answer(model).every)


@cache
def _completion(model: str, turn: int, *, stream: bool) -> Pieces:
    kind = "text/event-stream" if stream else "application/json"
    return Pieces(kind, openai_events(model, turn, stream=stream), answer(model).every)


def _json(document: object) -> bytes:
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve())
