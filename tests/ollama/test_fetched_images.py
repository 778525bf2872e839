import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.errors import UnsupportedInputError
from timestep.ollama import fetched_images
from timestep.ollama.fetched_images import MAX_BYTES, fetch_images, is_public

PNG = b"\x89PNG\r\n\x1a\n"


def anywhere(address):
    return True


def answer(body=PNG, kind="image/png", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Site:
    """A server on loopback.

    Attributes:
        answers: Bytes by path; None is silence, and a function gets the writer.
        requests: The heads of what it was asked.
        asked: Set at the first request.
        is_silent: Set at the first request that gets no answer.
        hung_up: Set when a client leaves while it is silent.
    """

    answers: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    is_silent: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}{path}"

    async def serve(self, reader, writer):
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            self.asked.set()
            said = self.answers[head.split()[1].partition("?")[0]]
            if said is None:
                self.is_silent.set()
                with suppress(ConnectionError):
                    await reader.read()
                self.hung_up.set()
            elif callable(said):
                await said(writer)
            else:
                writer.write(said)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(**answers):
    site = Site({f"/{name}": said for name, said in answers.items()})
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


@pytest.fixture
def names(monkeypatch):
    """A name server: the addresses of a name, and every name that was looked up."""
    known, asked, real = {}, [], socket.getaddrinfo

    def lookup(host, port, *args, **keywords):
        asked.append(host)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "its host name has no address")
        return [
            found
            for address in known[host]
            for found in real(address, port, type=socket.SOCK_STREAM)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    lookup.known, lookup.asked = known, asked
    return lookup


async def refusal(url, **more):
    with pytest.raises(UnsupportedInputError, match="data URL") as refused:
        await fetch_images([url], **more)
    return str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "193.0.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:800::200e",
    ],
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",  # carrier-grade NAT
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",  # the metadata of clouds
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",  # NAT64
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",  # Teredo
        "2001:db8::1",
        "2002:7f00:1::1",  # 6to4
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
    ],
)
def test_every_other_address_is_not(address):
    assert not is_public(ip_address(address))


@given(st.ip_addresses())
def test_no_public_address_is_of_a_special_kind(address):
    if is_public(address):
        assert address.is_global
        assert not any(
            getattr(address, kind, False)
            for kind in (
                *("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved"),
                *("is_unspecified", "is_site_local", "ipv4_mapped", "sixtofour", "teredo"),
            )
        )


async def test_an_image_is_its_bytes_and_the_host_is_asked_by_name(names):
    names.known["images.test"] = ["127.0.0.1"]
    async with serving(cat=answer(kind="Image/PNG; charset=binary")) as site:
        url = site.url("/cat?size=1", "images.test")

        assert await fetch_images([url], allow=anywhere) == {url: PNG}

    (head,) = site.requests
    assert head.startswith("GET /cat?size=1 HTTP/1.1\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.strip().split("\r\n")[1:])
    assert headers.pop("host") == f"images.test:{site.port}"
    assert headers.pop("accept-encoding") == "identity"
    assert headers.keys() == {"accept", "connection", "user-agent"}


async def test_nothing_to_fetch_opens_nothing():
    assert await fetch_images([]) == {}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)  # a table reads better in rows # fmt: skip
async def test_this_machine_is_not_asked_however_it_is_spelled(host):
    async with serving(cat=answer()) as site:
        assert "no public address" in await refusal(site.url("/cat", host))

    assert site.requests == []


async def test_a_name_is_resolved_once_and_its_checked_address_connected_to(names):
    names.known["rebinding.test"] = ["127.0.0.1"]
    checked = []

    def allow(address):
        checked.append(str(address))
        names.known["rebinding.test"] = ["127.0.0.9"]  # what a second answer would say
        return True

    async with serving(cat=answer()) as site:
        await fetch_images([site.url("/cat", "rebinding.test")], allow=allow)

    assert names.asked == ["rebinding.test"]
    assert checked == ["127.0.0.1"]
    assert len(site.requests) == 1


async def test_only_allowed_addresses_of_a_name_are_tried_each_in_turn(names):
    names.known["images.test"] = ["127.0.0.7", "127.0.0.8", "127.0.0.1"]
    async with serving(cat=answer()) as site:
        url = site.url("/cat", "images.test")
        found = await fetch_images([url], allow=lambda address: str(address) != "127.0.0.7")

        assert found == {url: PNG}
        only = await refusal(url, allow=lambda address: str(address) == "127.0.0.8")
    assert "connection refused" in only


async def test_a_redirect_is_not_followed():
    moved = answer(status="302 Found", location="http://127.0.0.1/elsewhere")
    async with serving(cat=moved) as site:
        said = await refusal(site.url("/cat"), allow=anywhere)

    assert "redirects, which is not followed" in said
    assert len(site.requests) == 1


ANSWERS = {
    "missing": (answer(b"no", status="404 Not Found"), "answers 404"),
    "failing": (answer(b"no", status="500 Oops"), "answers 500"),
    "not modified": (answer(b"", status="304 Not Modified"), "answers 304"),
    "a page": (answer(kind="text/html; charset=utf-8"), "it is 'text/html', not one of image/png"),
    "a drawing": (answer(kind="image/svg+xml"), "'image/svg+xml'"),
    "of no type": (answer(kind=None), "'of no type'"),
    "compressed": (answer(content_encoding="gzip"), "compressed"),
    "empty": (answer(b""), "it is empty"),
    "cut": (answer()[:-2], "the server hung up"),
    "no http": (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP"),
    "hung up": (b"", "the server hung up"),
}


@pytest.mark.parametrize(("said", "words"), ANSWERS.values(), ids=ANSWERS)
async def test_what_is_no_image_is_refused(said, words):
    async with serving(cat=said) as site:
        assert words in await refusal(site.url("/cat"), allow=anywhere)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp"])
async def test_every_kind_of_image_is_taken(kind):
    async with serving(cat=answer(kind=f"image/{kind}")) as site:
        assert list((await fetch_images([site.url("/cat")], allow=anywhere)).values()) == [PNG]


async def test_an_image_without_an_end_is_left_at_the_largest_size():
    sent = 0
    left = asyncio.Event()

    async def endless(writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
        try:
            while True:
                writer.write(bytes(100_000))
                await writer.drain()
                sent += 100_000
        finally:
            left.set()

    async with serving(cat=endless) as site:
        assert "larger than 20 MB" in await refusal(site.url("/cat"), allow=anywhere)
        await asyncio.wait_for(left.wait(), 60)

    assert sent < 2 * MAX_BYTES


async def test_the_largest_image_is_whole():
    async with serving(cat=answer(bytes(MAX_BYTES))) as site:
        (image,) = (await fetch_images([site.url("/cat")], allow=anywhere)).values()

    assert len(image) == MAX_BYTES


async def test_a_slow_image_is_given_up_and_hung_up_on(monkeypatch):
    monkeypatch.setattr(fetched_images, "MAX_SECONDS", 0.1)
    async with serving(cat=None) as site:
        assert "takes longer than" in await refusal(site.url("/cat"), allow=anywhere)
        await asyncio.wait_for(site.hung_up.wait(), 60)


async def test_a_cancelled_fetch_hangs_up():
    async with serving(cat=None) as site:
        task = asyncio.create_task(fetch_images([site.url("/cat")], allow=anywhere))
        await asyncio.wait_for(site.asked.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(site.hung_up.wait(), 60)


async def test_several_images_keep_their_urls_and_no_cookie():
    answers = {f"n{n}": answer(bytes([n]), set_cookie=f"c={n}") for n in range(1, 10)}
    async with serving(**answers) as site:
        urls = [site.url(f"/n{n}") for n in range(1, 10)]

        found = await fetch_images(urls, allow=anywhere)

    assert found == {url: bytes([n]) for n, url in enumerate(urls, 1)}
    assert not any("cookie" in head.lower() for head in site.requests)


async def test_one_image_that_cannot_be_had_ends_them_all():
    async def answer_late(writer):
        await site.is_silent.wait()  # else the other may be called off before it was asked for
        writer.write(answer(kind="text/html"))
        await writer.drain()

    async with serving(cat=None, dog=answer_late) as site:
        with pytest.raises(UnsupportedInputError, match="/dog") as refused:
            await fetch_images([site.url("/cat"), site.url("/dog")], allow=anywhere)
        await asyncio.wait_for(site.hung_up.wait(), 60)

    assert isinstance(refused.value.__cause__, ValueError)


async def test_no_proxy_of_the_environment_is_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(cat=answer()) as site:
        assert await fetch_images([site.url("/cat")], allow=anywhere)


async def test_an_unknown_name_is_refused(names):
    assert "its host name has no address" in await refusal(
        "http://nowhere.test/cat", allow=anywhere
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user:secret@example.com/a", "user name or password"),
        ("http://secret@example.com/a?secret#secret", "user name or password"),
        ("ftp://example.com/a", "not an http or https URL"),
        ("http:///a", "not an http or https URL"),
        ("http://", "not an http or https URL"),
        ("example.com/a", "not an http or https URL"),
        ("http://[::1/a", "not a valid URL"),
        ("http://example.com:99999999/a?secret", "a port that does not exist"),
        ("http://example.com:0/a?secret", "a port that does not exist"),
        ("http://user:secret@example.com:x/a", "not a valid URL"),
        ("http://exa mple.com/a?secret", "its host name has no address"),
        (f"http://{'a' * 300}.example/a", ""),
        ("http://a..b/", ""),
        ("http://\0/a", ""),
        ("http://\ud800/", ""),
    ],
)
async def test_a_url_that_names_no_image_is_refused_without_its_secrets(names, url, words):
    said = await refusal(url)

    assert words in said
    assert "secret" not in said


@pytest.mark.parametrize("query", ["?token=secret", "#secret", "?a=1&secret"])
async def test_an_error_shows_no_query(query):
    async with serving(cat=answer(kind="text/html")) as site:
        said = await refusal(site.url(f"/cat{query}"), allow=anywhere)

    assert "/cat'" in said
    assert "secret" not in said


async def test_tls_is_for_the_name_and_an_unsigned_certificate_is_refused(names):
    names.known["images.test"] = ["127.0.0.1"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(__file__).parent / "nobodys.pem")  # signed by itself
    asked = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    site = Site({"/cat": answer()})

    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        said = await refusal(f"https://images.test:{port}/cat", allow=anywhere)

    assert asked == ["images.test"]
    assert "its certificate is not trusted" in said
    assert site.requests == []
