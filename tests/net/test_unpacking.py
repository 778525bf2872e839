"""A compressed answer that was not asked for is unpacked in small pieces, to a limit."""

import gzip
import zlib

import pytest

from timestep.net.connection import TransportError
from timestep.net.failure_words import HUNG_UP, PACKED
from timestep.net.unpacking import unpacked

TEXT = b'{"message": "hi"}\n' * 20_000


def bare(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


async def pieces_of(body, encoding, size=1000):
    async def pieces():
        for at in range(0, len(body), size):
            yield body[at : at + size]

    return [piece async for piece in unpacked(pieces(), encoding)]


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (TEXT, None),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), " X-GZIP "),
        (zlib.compress(TEXT), "deflate"),
        (bare(TEXT), "deflate"),
    ],
)
async def test_every_split_unpacks_to_the_same_bytes(packed, encoding, size):
    assert b"".join(await pieces_of(packed, encoding, size)) == TEXT


async def test_a_few_bytes_never_become_a_large_piece():
    pieces = await pieces_of(gzip.compress(b"\n" * 10_000_000), "gzip", 100_000)

    assert max(map(len, pieces)) <= 1 << 16
    assert sum(map(len, pieces)) == 10_000_000


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (gzip.compress(TEXT)[:-20], "gzip", HUNG_UP),
        (b"not gzip", "gzip", PACKED),
        (gzip.compress(TEXT)[:20] + b"\xff" * 200, "gzip", PACKED),
        (b"anything", "br", PACKED),
        (b"anything", "gzip, gzip", PACKED),
    ],
    ids=["cut", "something else", "damaged", "an unknown way", "twice"],
)
async def test_what_cannot_be_unpacked_is_refused(body, encoding, words):
    with pytest.raises(TransportError, match=words):
        await pieces_of(body, encoding)


async def test_an_empty_body_needs_no_end():
    assert await pieces_of(b"", "gzip") == []
