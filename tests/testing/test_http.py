import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.testing import Request
from timestep.testing.http import BadRequestError, Response, chunk, read_request, whole

FIXED = b"POST /api/chat?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\nX-A: 1\r\nx-a: 2\r\n\r\n{\r\n\r\n }"
CHUNKED = (
    b"POST /api/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'3;ext=1\r\n{\r\n\r\nA\r\n"a": 12345\r\n1\r\n}\r\n0\r\n\r\n'
)  # a table reads better in rows # fmt: skip
BARE = b"GET / HTTP/1.1\r\n\r\n"


async def parsed(pieces, number=1):
    reader = asyncio.StreamReader()

    async def read():
        return [await read_request(reader) for _ in range(number)]

    reading = asyncio.create_task(read())
    for piece in pieces:
        reader.feed_data(piece)
        await asyncio.sleep(0)
    reader.feed_eof()
    requests = await reading
    assert not await reader.read()
    return requests


@given(st.lists(st.integers(0, len(FIXED + CHUNKED + BARE))))
def test_requests_are_the_same_however_the_bytes_arrive(cuts):
    data = FIXED + CHUNKED + BARE
    edges = [0, *sorted(cuts), len(data)]

    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    requests = asyncio.run(parsed(pieces, 3))

    assert requests == [
        Request(
            "POST",
            "/api/chat",
            {"host": "h", "content-length": "7", "x-a": "1, 2"},
            b"{\r\n\r\n }",
            "x=1",
        ),
        Request("POST", "/api/chat", {"transfer-encoding": "chunked"}, b'{\r\n"a": 12345}'),
        Request("GET", "/"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_no_request_is_refused(data):
    with pytest.raises(BadRequestError):
        asyncio.run(parsed([data]))


@pytest.mark.parametrize(
    ("body", "json"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'  {"a": 1} and more', {"a": 1}),
        (b"", None),
        (b"no json", None),
    ],
)
def test_a_request_knows_its_json(body, json):
    assert Request("POST", "/", {}, body).json == json


def test_a_request_shows_its_method_and_path():
    assert str(Request("GET", "/api/version")) == "GET /api/version"


def test_a_small_body_has_a_length_and_a_large_one_comes_in_chunks():
    small = whole(200, "text/plain", b"x" * 2048).head()
    large = whole(200, "text/plain", b"x" * 2049).head()

    assert b"Content-Length: 2048\r\n" in small
    assert b"Transfer-Encoding" not in small
    assert b"Transfer-Encoding: chunked\r\n" in large
    assert b"Content-Length" not in large


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK"),
        (404, b"HTTP/1.1 404 Not Found"),
        (499, b"HTTP/1.1 499 status code 499"),
    ],
)
def test_the_status_line_is_gos(status, line):
    assert Response(status, (), ()).head().split(b"\r\n")[0] == line


def test_a_chunk_is_framed_by_its_size_in_hex():
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
