"""The body of an answer that is compressed, although no request asks for that. Pure.

A few compressed bytes can become very many. So the body is unpacked in small pieces, which fill
little memory and do not block the event loop.
"""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator

from timestep.net.connection import TransportError
from timestep.net.failure_words import HUNG_UP, PACKED

_PIECE = 1 << 16
_GZIP, _ZLIB, _BARE = 31, 15, -15  # zlib's own numbers
_KNOWN = {"gzip", "x-gzip", "deflate"}
_DEFLATED = 8  # in the low half of the first byte of zlib's format


def unpacked(pieces: AsyncIterator[bytes], encoding: str | None) -> AsyncIterator[bytes]:
    """Return *pieces* of a body as they are without a ``Content-Encoding``, else what they unpack to.

    Iterating raises `TransportError` when they cannot be unpacked. The caller limits the bytes.
    """
    name = (encoding or "identity").strip().lower()
    return pieces if name == "identity" else _unpacked(pieces, name)


async def _unpacked(pieces: AsyncIterator[bytes], name: str) -> AsyncGenerator[bytes]:
    if name not in _KNOWN:
        raise TransportError("exchange", PACKED)
    unpacker = None
    async for piece in pieces:
        packed = piece
        if packed and unpacker is None:
            unpacker = zlib.decompressobj(_format(name, packed[0]))
        while packed and unpacker is not None and not unpacker.eof:
            try:
                part = unpacker.decompress(packed, _PIECE)
            except zlib.error as exc:
                raise TransportError("exchange", PACKED) from exc
            packed = unpacker.unconsumed_tail
            if part:
                yield part
    if unpacker is not None and not unpacker.eof:
        raise TransportError("exchange", HUNG_UP)


def _format(encoding: str, first: int) -> int:
    """Return zlib's number for the format of a body whose *first* byte is known."""
    if encoding != "deflate":
        return _GZIP
    return _ZLIB if first & 0x0F == _DEFLATED else _BARE  # some servers leave the head out
