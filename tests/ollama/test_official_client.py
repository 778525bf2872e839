"""`ollama.AsyncClient` as the commands use it: its keys, its proxies and its errors."""

import asyncio
import json
import traceback

import pytest

from timestep.config.settings import load_settings
from timestep.errors import (
    AuthenticationError,
    ConfigurationError,
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
)
from timestep.factory.endpoints import ollama_endpoints
from timestep.net.origin import Origin
from timestep.ollama import OllamaModelProvider
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.official_client import open_client, translated
from timestep.ollama.server_info import connect
from timestep.testing import Close, FakeOllama, Stall

KEY = "sk-very-secret-0123456789"


async def ask(url, headers=None, *, asked="list", silence=60.0):
    with translated(Origin("m", url, (KEY,))):
        async with open_client(Endpoint(url, headers or {}), silence=silence) as client:
            match asked:
                case "pull":
                    return [step async for step in await client.pull("m", stream=True)]
                case "show":
                    return await client.show("m")
                case _:
                    return await client.list()


@pytest.mark.parametrize(
    ("limits", "seconds"), [(None, 5), (9, 9), ({"connect": 7}, 7), ({"idle": 60}, 5)]
)
@pytest.mark.parametrize("url", [None, "http://gpu:1", ["http://a:1", "http://b:1"]])
async def test_a_command_waits_for_a_connection_as_long_as_the_settings_say(limits, seconds, url):
    settings = load_settings(ollama={"timeout": limits, "base_url": url})
    endpoints = ollama_endpoints(settings)["ollama"]
    provider = OllamaModelProvider(base_url=url, timeout=limits)
    pulled = [wire.endpoint for wire in provider.wires("m")]

    for endpoint in (*pulled, *endpoints.pool, endpoints.local, endpoints.cloud):
        async with connect(endpoint) as http, open_client(endpoint, silence=60) as client:
            assert http.timeout.connect == seconds
            assert client._client.timeout.connect == seconds


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({}, None), ({"authorization": f"Bearer {KEY}"}, f"Bearer {KEY}")],
)
@pytest.mark.parametrize("asked", ["list", "show", "pull"])
async def test_the_endpoints_key_is_sent_and_none_of_the_environment(
    fake_ollama, monkeypatch, headers, sent, asked
):
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")

    await ask(fake_ollama.url, {**headers, "x-team": "a"}, asked=asked)

    (request,) = fake_ollama.requests
    assert request.headers.get("authorization") == sent
    assert request.headers["x-team"] == "a"


async def test_a_redirect_is_not_followed(fake_ollama):
    with FakeOllama() as second:
        fake_ollama.fail(
            307, "", path="/api/tags", headers={"Location": f"{second.url}/api/tags?token=abc"}
        )
        with pytest.raises(OllamaStatusError, match="redirects to") as caught:
            await ask(fake_ollama.url, {"x-key": KEY})

        assert second.requests == []
    assert "token=abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "asked", "error", "words"),
    [
        (401, f"no to {KEY}", "list", AuthenticationError, "answered 401: no to"),
        (404, "model 'm' not found", "show", ModelNotFoundError, "ollama pull m"),
        (500, "no space left", "pull", OllamaStatusError, "answered 500: no space left"),
        (500, "[]", "list", OllamaStatusError, "answered 500"),
        (200, "<html>", "list", OllamaStreamError, "cannot be read"),
        (200, "[]", "list", OllamaStreamError, "cannot be read"),
        (200, "[" * 10_000 + "]" * 10_000, "list", OllamaStreamError, "cannot be read"),
        (200, '{"models": 7}', "list", OllamaStreamError, "cannot be read"),
        (200, "<html>\n", "pull", OllamaStreamError, "cannot be read"),
        (200, "[]\n", "pull", OllamaStreamError, "cannot be read"),
        (200, '{"error": "disk full"}\n', "pull", OllamaStreamError, "disk full"),
    ],
)
async def test_what_a_server_refuses_is_an_error_of_the_tree(
    fake_ollama, status, body, asked, error, words
):
    path = {"list": "/api/tags"}.get(asked, f"/api/{asked}")
    is_plain = body.startswith(("<", "[", "{"))
    document = body if is_plain else json.dumps({"error": body})
    fake_ollama.fail(status, body=document, path=path)

    with pytest.raises(error, match=words) as caught:
        await ask(fake_ollama.url, {"authorization": f"Bearer {KEY}"}, asked=asked)

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in str(caught.value)
    assert KEY not in "".join(
        line for line in report.format() if "test_official" not in line and "headers" not in line
    )


async def test_a_server_that_is_not_there_says_how_to_start_it(fake_ollama):
    fake_ollama.refuse()

    with pytest.raises(
        OllamaConnectionError, match=r"connection refused\. Start it with 'ollama serve'"
    ):
        await ask(fake_ollama.url)


async def test_a_server_that_falls_silent_is_a_timeout(fake_ollama):
    fake_ollama.fail(200, body='{"status": "pulling"}\n', path="/api/pull", fault=Stall(after=1))

    with pytest.raises(OllamaTimeoutError, match="fell silent"):
        await ask(fake_ollama.url, asked="pull", silence=1.0)


async def test_a_server_that_hangs_up_broke_the_connection(fake_ollama):
    body = '{"status": "pulling"}\n' * 3
    fake_ollama.fail(200, body=body, path="/api/pull", fault=Close(after_bytes=30))

    with pytest.raises(OllamaConnectionError, match="broke: the server hung up"):
        await ask(fake_ollama.url, asked="pull")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://user:word@", "HTTP_PROXY is not the address"),
        ("socks4://user:word@127.0.0.1", "HTTP_PROXY names a SOCKS 4 proxy"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(monkeypatch, proxy, words):
    monkeypatch.setenv("HTTP_PROXY", proxy)

    with pytest.raises(ConfigurationError, match=words) as caught:
        await ask("http://gpu.invalid")

    assert "word" not in str(caught.value)


async def test_a_proxy_carries_the_commands_and_exceptions_break_nothing(monkeypatch):
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"models": []}')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        proxy = f"http://me:word@127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "[::1],fd00::/8,.example.com:80")
        listed = await ask("http://gpu.invalid:11434")

    assert heads[0].startswith(b"GET http://gpu.invalid:11434/api/tags HTTP/1.1\r\n")
    assert b"proxy-authorization: basic" in heads[0].lower()
    assert listed.models == []
