"""The body of an answer that is compressed, although no request asks for that. Pure.

It is unpacked in small pieces, so that a few bytes that stand for many neither fill the memory nor
hold the event loop.
"""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from timestep.net import limits
from timestep.net.connection import TransportError
from timestep.net.reasons import ENDLESS, HUNG_UP, PACKED

_PIECE = 1 << 16
_GZIP, _ZLIB, _BARE = 31, 15, -15  # zlib's own numbers
_KNOWN = {"gzip", "x-gzip", "deflate"}
_DEFLATED = 8  # in the low half of the first byte of zlib's format


def unpacked(pieces: AsyncIterator[bytes], encoding: str | None) -> AsyncIterator[bytes]:
    """Return *pieces* of a body as they are without a ``Content-Encoding``, else what they unpack to.

    Iterating raises `TransportError` when they cannot be unpacked, or to more than `limits.LONGEST`
    bytes.
    """
    name = (encoding or "identity").strip().lower()
    return pieces if name == "identity" else _unpacked(pieces, name)


async def _unpacked(pieces: AsyncIterator[bytes], name: str) -> AsyncGenerator[bytes]:
    if name not in _KNOWN:
        raise TransportError("exchange", PACKED)
    body = _Packed(name)
    async for piece in pieces:
        for part in body.feed(piece):
            yield part
    if not body.is_whole:
        raise TransportError("exchange", HUNG_UP)


class _Packed:
    """What one compressed body unpacks to."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._unpacker = zlib.decompressobj(_GZIP)
        self._has_begun = False
        self._size = 0

    @property
    def is_whole(self) -> bool:
        """True at the end of the body, and before its first byte."""
        return self._unpacker.eof or not self._has_begun

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what *data* unpacks to, in pieces."""
        if data and not self._has_begun:
            self._has_begun = True
            self._unpacker = zlib.decompressobj(self._format(data))
        while data and not self._unpacker.eof:
            try:
                part = self._unpacker.decompress(data, _PIECE)
            except zlib.error as exc:
                raise TransportError("exchange", PACKED) from exc
            data = self._unpacker.unconsumed_tail
            self._size += len(part)
            if self._size > limits.LONGEST:
                raise TransportError("exchange", ENDLESS)
            if part:
                yield part

    def _format(self, data: bytes) -> int:
        if self._encoding != "deflate":
            return _GZIP
        return _ZLIB if data[0] & 0x0F == _DEFLATED else _BARE  # some servers leave the head out
