"""Every way a request can travel does the same."""

import gzip
import re
import ssl
from asyncio import start_server
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from timestep.errors import ConfigurationError
from timestep.net.connection import Request, TransportError
from timestep.net.given_client import HttpxClient
from timestep.net.http import Session

LINES = b'{"done": false}\n{"done": true}\n'
FOREIGN_WORDS = re.compile(
    r"ssl:|Cannot connect|TransferEncoding|Payload|Errno|attempts failed|peer closed|_ssl\.c|Error"
)
PEM = Path(__file__).parents[1] / "ollama" / "nobodys.pem"


@pytest.fixture(params=["aiohttp", "httpx"])
def opened(request):
    """Opens connections that travel one way or another."""

    @asynccontextmanager
    async def opened(base_url):
        if request.param == "aiohttp":
            connections = Session(base_url, 5.0)
        else:
            client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5.0))
            connections = HttpxClient(client, is_own=True)
        try:
            yield connections
        finally:
            await connections.aclose()

    return opened


@asynccontextmanager
async def server(answer, tls=None):
    """The URL of a server that answers with bytes, and the requests it read."""
    requests = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        requests.append((head, await reader.readexactly(int(length[1]) if length else 0)))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await start_server(serve, "127.0.0.1", 0, ssl=tls) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", requests


def response(body, *headers, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def send(connections, url, body=b"{}", headers=None):
    answer = await connections.send(Request("POST", url, headers or {}, body), lambda _: None)
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


async def failure(opened, url):
    async with opened(url) as connections:
        with pytest.raises(TransportError) as caught:
            await send(connections, url)
    assert caught.value.__cause__ is not None
    assert not FOREIGN_WORDS.search(str(caught.value))
    return caught.value.phase, str(caught.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the server hung up before its answer was complete"),
        (b"no HTTP\r\n\r\n", "the answer is not HTTP"),
        (response(LINES)[:-5], "the server hung up before its answer was complete"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "the server hung up before its answer was complete",
        ),
        (
            response(b"not gzip", "Content-Encoding: gzip"),
            "the answer is compressed in a way that cannot be unpacked",
        ),
    ],
    ids=["nothing", "no HTTP", "half a body", "half a chunk", "no gzip"],
)
async def test_an_answer_that_breaks_says_so(opened, answer, words):
    async with server(answer) as (url, _):
        assert await failure(opened, url) == ("exchange", words)


async def test_a_refused_connection_says_so(opened):
    async with server(b"") as (url, _):
        pass

    assert await failure(opened, url) == ("reach", "connection refused")


async def test_a_host_without_an_address_cannot_be_reached(opened):
    url = "http://nobody.invalid:11434"

    assert await failure(opened, url) == ("reach", "its host name has no address")


async def test_a_certificate_that_is_not_trusted_says_so(opened):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(PEM)
    async with server(response(LINES), tls) as (url, _):
        phase, words = await failure(opened, url)

    assert phase == "reach"
    assert words.startswith("its certificate is not trusted (")


async def test_a_server_without_tls_says_so(opened):
    async def serve(reader, writer):
        writer.write(response(LINES))
        await writer.drain()
        writer.close()

    async with await start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        phase, words = await failure(opened, f"https://127.0.0.1:{port}")

    assert phase == "reach"
    assert words.startswith("it does not speak TLS as expected (")


async def test_a_path_that_is_encoded_arrives_as_it_is(opened):
    async with server(response(LINES)) as (url, requests), opened(url) as connections:
        await send(connections, f"{url}/a%20b/%C3%A4/api/chat")

    assert requests[0][0].startswith(b"POST /a%20b/%C3%A4/api/chat HTTP/1.1\r\n")


async def test_a_closed_client_says_so(opened):
    async with opened("http://127.0.0.1:9") as connections:
        await connections.aclose()
        with pytest.raises(TransportError) as caught:
            await send(connections, "http://127.0.0.1:9")

    assert (caught.value.phase, str(caught.value)) == ("closed", "it is closed")


# Proxies


async def test_a_proxy_gets_what_goes_to_other_hosts(monkeypatch):
    async with server(response(LINES)) as (url, requests):
        monkeypatch.setenv("HTTP_PROXY", url.replace("//", "//us%40er:word@"))
        connections = Session("http://gpu.invalid:11434", 5.0)
        _, got = await send(connections, "http://gpu.invalid:11434/api/chat")
        await connections.aclose()

    ((head, _),) = requests
    assert head.startswith(b"POST http://gpu.invalid:11434/api/chat HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic dXNAZXI6d29yZA==\r\n" in head
    assert got == LINES


async def test_a_proxy_makes_a_tunnel_for_tls_and_sees_no_header_of_the_request(monkeypatch):
    async with server(response(b"", status="407 Proxy Authentication Required")) as (url, requests):
        monkeypatch.setenv("https_proxy", url.replace("//", "//user:word@"))
        connections = Session("https://gpu.invalid", 5.0)
        with pytest.raises(TransportError) as caught:
            await send(connections, "https://gpu.invalid/api/chat", headers={"x-key": "secret"})
        await connections.aclose()

    ((head, _),) = requests
    assert head.startswith(b"CONNECT gpu.invalid:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic" in head
    assert b"secret" not in head
    assert caught.value.phase == "reach"
    assert str(caught.value) == (
        "the proxy answered 407, because it wants a user name and a password that it knows "
        "(through the proxy that https_proxy names)"
    )


async def test_a_proxy_that_is_not_there_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://user:word@127.0.0.1:9")
    connections = Session("http://gpu.invalid", 5.0)
    with pytest.raises(TransportError) as caught:
        await send(connections, "http://gpu.invalid/")
    await connections.aclose()

    assert str(caught.value) == "connection refused (through the proxy that ALL_PROXY names)"


@asynccontextmanager
async def socks_server(answer):
    """A SOCKS5 proxy that answers itself, and the hosts it was asked for."""
    asked = []

    async def serve(reader, writer):
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        length = (await reader.readexactly(1))[0] if kind == 3 else 4
        asked.append((await reader.readexactly(length), await reader.readexactly(2)))
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await start_server(serve, "127.0.0.1", 0) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy_carries_requests(monkeypatch, scheme):
    async with socks_server(response(LINES)) as (address, asked):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
        url = "http://gpu.invalid:11434" if scheme == "socks5h" else "http://192.0.2.1:11434"
        connections = Session(url, 5.0)
        _, got = await send(connections, f"{url}/api/chat")
        await connections.aclose()

    host = b"gpu.invalid" if scheme == "socks5h" else bytes([192, 0, 2, 1])
    assert asked == [(host, (11434).to_bytes(2))]
    assert got == LINES


async def test_a_socks_proxy_that_is_not_there_is_named_by_its_variable(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")
    connections = Session("http://gpu.invalid", 5.0)
    with pytest.raises(TransportError) as caught:
        await send(connections, "http://gpu.invalid/")
    await connections.aclose()

    assert caught.value.phase == "reach"
    assert str(caught.value).endswith("(through the proxy that ALL_PROXY names)")
    assert not FOREIGN_WORDS.search(str(caught.value))


async def test_a_socks_proxy_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://user:word@127.0.0.1:9")
    monkeypatch.setattr("timestep.net.proxies.find_spec", lambda name: None)

    with pytest.raises(ConfigurationError, match=r"^ALL_PROXY names.*'\.\[socks\]'") as caught:
        Session("http://gpu.invalid", 5.0)

    assert "word" not in str(caught.value)


async def test_a_proxy_that_cannot_be_used_is_an_error_of_the_configuration(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://user:word@")

    with pytest.raises(ConfigurationError, match="HTTP_PROXY is not the address") as caught:
        Session("http://gpu.invalid", 5.0)

    assert "word" not in str(caught.value)


async def test_no_file_of_passwords_is_read(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1\nlogin me\npassword word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with server(response(LINES)) as (url, requests):
        connections = Session(url, 5.0)
        await send(connections, url)
        await connections.aclose()

    assert b"authorization" not in requests[0][0].lower()
