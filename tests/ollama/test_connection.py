"""Every way a request can travel does the same, and the right one is chosen."""

import asyncio
import gzip
import re
from contextlib import asynccontextmanager

import pytest

from timestep.net import connection, over_httpcore
from timestep.net.connection import TransportError, open_connections
from timestep.net.over_aiohttp import AiohttpSession
from timestep.net.over_httpcore import HttpcoreConnections, parse
from timestep.net.over_httpx import HttpxClient
from timestep.ollama.client import Wire
from timestep.ollama.endpoint import Endpoint

LINES = b'{"done": false}\n{"done": true}\n'


@pytest.fixture
def without_aiohttp(monkeypatch):
    monkeypatch.setattr(connection, "find_spec", lambda name: None)


@pytest.fixture(params=["aiohttp", "httpcore", "httpx"])
def opened(request, monkeypatch):
    """Opens connections that travel one way or another."""
    if request.param != "aiohttp":
        request.getfixturevalue("without_aiohttp")
    if request.param == "httpx":
        monkeypatch.setattr(connection, "_is_proxied", lambda endpoint: True)

    @asynccontextmanager
    async def opened(base_url):
        connections = open_connections(Endpoint(base_url), 5.0)
        try:
            yield connections
        finally:
            await connections.aclose()

    return opened


@asynccontextmanager
async def server(answer):
    """The URL of a server that answers with bytes, and the requests it read."""
    requests = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        requests.append((head, await reader.readexactly(int(length[1]) if length else 0)))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", requests


def response(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send(connections, url, body=b"{}", headers=None):
    guarded = []
    answer = await connections.send("POST", url, headers or {}, body, guarded.append)
    try:
        return answer, b"".join([piece async for piece in answer.body])
    finally:
        await answer.aclose()


async def test_a_request_arrives_as_it_was_given(opened):
    body = b"x" * 3_000_000  # more than fits one write
    async with server(response(LINES)) as (url, requests), opened(url) as connections:
        answer, got = await send(connections, f"{url}/api/chat", body, {"x-own": "1"})

    ((head, sent),) = requests
    assert head.startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert b"\r\nx-own: 1\r\n" in head.lower()
    assert head.lower().count(b"\r\nhost:") == 1
    assert sent == body
    assert (answer.status, got) == (200, LINES)


async def test_a_body_that_is_compressed_all_the_same_is_decoded(opened):
    packed = response(gzip.compress(LINES), "Content-Encoding: gzip")
    async with server(packed) as (url, _), opened(url) as connections:
        _, got = await send(connections, url)

    assert got == LINES


async def test_a_redirect_is_an_answer_like_any_other(opened):
    away = response(b"", "Location: http://127.0.0.1:9/", status="307 Temporary Redirect")
    async with server(away) as (url, requests), opened(url) as connections:
        answer, _ = await send(connections, url)

    assert answer.status == 307
    assert answer.headers["location"] == "http://127.0.0.1:9/"
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (b"", "exchange"),
        (b"no HTTP\r\n\r\n", "exchange"),
        (response(LINES)[:-5], "exchange"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "exchange"),
    ],
    ids=["nothing", "no HTTP", "half a body", "half a chunk"],
)
async def test_an_answer_that_breaks_says_so(opened, answer, phase):
    async with server(answer) as (url, _), opened(url) as connections:
        with pytest.raises(TransportError) as caught:
            await send(connections, url)

    assert caught.value.phase == phase
    assert str(caught.value)
    assert caught.value.__cause__ is not None


async def test_a_refused_connection_says_so(opened):
    async with server(b"") as (url, _):
        pass
    async with opened(url) as connections:
        with pytest.raises(TransportError) as caught:
            await send(connections, url)

    assert caught.value.phase == "reach"


async def test_a_host_without_an_address_cannot_be_reached(opened):
    async with opened("http://nobody.invalid:11434") as connections:
        with pytest.raises(TransportError) as caught:
            await send(connections, "http://nobody.invalid:11434")

    assert caught.value.phase == "reach"


@pytest.mark.parametrize(
    ("url", "host", "peer", "port", "path"),
    [
        ("http://h/api/chat", "h", b"h", None, b"/api/chat"),
        ("http://[::1]:11434/api/chat", "[::1]:11434", b"::1", 11434, b"/api/chat"),
        (
            "http://bücher.example:80/ä%20/api/chat",
            "xn--bcher-kva.example:80",
            b"xn--bcher-kva.example",
            80,
            b"/%C3%A4%20/api/chat",
        ),
    ],
)
def test_a_url_is_written_in_ascii(url, host, peer, port, path):
    target, named = parse(url)

    assert (named, target.host, target.port, target.target) == (host, peer, port, path)


async def test_a_path_that_is_encoded_arrives_as_it_is(opened):
    async with server(response(LINES)) as (url, requests), opened(url) as connections:
        await send(connections, f"{url}/a%20b/%C3%A4/api/chat")

    assert requests[0][0].startswith(b"POST /a%20b/%C3%A4/api/chat HTTP/1.1\r\n")


PROXIES = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("base_url", "environment", "stock", "fast"),
    [
        ("http://127.0.0.1:11434", {}, HttpcoreConnections, AiohttpSession),
        ("https://ollama.com", {}, HttpxClient, AiohttpSession),
        ("http://gpu:11434", PROXIES, HttpxClient, HttpxClient),
        ("https://ollama.com", PROXIES, HttpxClient, HttpxClient),
        ("https://ollama.com", {"ALL_PROXY": "http://127.0.0.1:9"}, HttpxClient, HttpxClient),
        ("http://gpu:11434", {**PROXIES, "NO_PROXY": "gpu"}, HttpcoreConnections, AiohttpSession),
        ("http://127.0.0.1:11434", PROXIES, HttpcoreConnections, AiohttpSession),
    ],
)
async def test_the_library_is_chosen_by_what_is_there_and_what_is_needed(
    monkeypatch, request, base_url, environment, stock, fast
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for library in (fast, stock):
        connections = open_connections(Endpoint(base_url), 5.0)
        await connections.aclose()

        assert type(connections) is library
        request.getfixturevalue("without_aiohttp")


async def test_a_proxy_gets_what_goes_to_other_hosts(monkeypatch):
    async with server(response(LINES)) as (url, requests):
        monkeypatch.setenv("HTTP_PROXY", url)
        connections = open_connections(Endpoint("http://gpu.invalid:11434"), 5.0)
        _, got = await send(connections, "http://gpu.invalid:11434/api/chat")
        await connections.aclose()

    ((head, _),) = requests
    assert head.startswith(b"POST http://gpu.invalid:11434/api/chat HTTP/1.1\r\n")
    assert got == LINES


async def test_many_requests_at_once_look_at_few_kept_connections(
    monkeypatch, without_aiohttp, fake_ollama
):
    looks = []
    is_readable = over_httpcore._is_readable
    monkeypatch.setattr(
        over_httpcore, "_is_readable", lambda socket: looks.append(1) or is_readable(socket)
    )
    fake_ollama.reply("hi", times=None)
    wire = Wire(Endpoint(fake_ollama.url))
    ask = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}

    for _ in range(3):
        await asyncio.gather(
            *(wire.post("/api/chat", {**ask, "stream": False}) for _ in range(150))
        )

    assert len(fake_ollama.chats) == 450
    assert len(looks) <= 2 * 450
    assert fake_ollama.open_connections <= 150
    await wire.aclose()
