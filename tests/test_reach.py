"""Certificates and the proxy of a table, as servers on loopback see them."""

import re
import ssl
import sys
from asyncio import start_server
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from agents import Agent, RunConfig, Runner
from pydantic import ValidationError

from timestep import OllamaModelProvider
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError
from timestep.net import reach
from timestep.net.reach import Reach
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.registry import MultiModelProvider

PEM = str(Path(__file__).parent / "net" / "here.pem")
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

SDK_KIND = {"kind": "openai", "adapter": "sdk"}
NO_PASSWORD = b"HTTP/1.1 407 Go away\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
TABLES = {
    "responses": ("m", "/responses", {"openai": {"api_key": "k"}}),
    "chat": ("m", "/chat/completions", {"openai": {"api_key": "k", "api": "chat_completions"}}),
    "openai kind": ("p/m", "/chat/completions", {"providers": {"p": {"kind": "openai"}}}),
    "the SDK's model": ("p/m", "/chat/completions", {"providers": {"p": SDK_KIND}}),
    "ollama": ("ollama/m", "/api/chat", {"ollama": {}}),
    "ollama kind": ("p/m", "/api/chat", {"providers": {"p": {"kind": "ollama"}}}),
}


@asynccontextmanager
async def server(context=None, answer=REFUSAL):
    """The port of a server that gives *answer*, and each request with the certificate shown."""
    seen = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        connection = writer.get_extra_info("ssl_object")
        seen.append((head.decode(), connection and connection.getpeercert()))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1], seen


def asking_for_a_certificate():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    context.load_verify_locations(PEM)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def made(tables, base_url, **reach):
    """A provider for *tables*, whose one table gets *base_url* and *reach*."""

    def filled(name, table):
        if name == "providers":
            return {prefix: filled(prefix, below) for prefix, below in table.items()}
        return {**table, "base_url": base_url, "max_retries": 0, **reach}

    settings = {name: filled(name, table) for name, table in tables.items()}
    for table in (settings.get("ollama"), settings.get("providers", {}).get("p")):
        if table is not None and (table is settings.get("ollama") or table["kind"] == "ollama"):
            del table["max_retries"]
    return MultiModelProvider.from_settings(Settings(_env_file=None, _environment={}, **settings))


async def ask(provider, model):
    """Ask *model*; return the error, since the server always refuses."""
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of the SDK or of ours
            await Runner.run(Agent(name="a", model=model), "hi", run_config=config)
    finally:
        await provider.aclose()
    return caught.value


@pytest.mark.parametrize("table", TABLES)
async def test_a_table_says_which_certificates_are_trusted_and_shown(table):
    model, path, tables = TABLES[table]
    async with server(asking_for_a_certificate()) as (port, seen):
        url = f"https://127.0.0.1:{port}"
        await ask(made(tables, url), model)
        assert not seen  # its certificate is not trusted
        await ask(made(tables, url, ca_file=PEM), model)
        await ask(made(tables, url, ca_file=PEM, client_cert=PEM), model)
        await ask(made(tables, url, ca_file=PEM, client_cert=[PEM, PEM]), model)

    chats = [shown for head, shown in seen if path in head]
    assert [bool(shown) for shown in chats] == [False, True, True]


@pytest.mark.parametrize("table", TABLES)
async def test_a_table_names_its_proxy_and_wins_over_the_variables(table, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    model, path, tables = TABLES[table]
    async with server() as (port, seen):
        proxy = f"http://me:kestrel9@127.0.0.1:{port}"
        provider = made(tables, "http://gpu.invalid", proxy=proxy, allow_insecure=True)
        error = await ask(provider, model)

    asked = [head for head, _ in seen if f"http://gpu.invalid{path}" in head]
    assert asked
    assert re.search(r"proxy-authorization: basic bWU6a2VzdHJlbDk=", asked[0], re.IGNORECASE)
    assert "kestrel9" not in f"{error!r} {error}"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("table", TABLES)
async def test_a_proxy_that_fails_is_named_by_its_variable(table, scheme, monkeypatch):
    model, _, tables = TABLES[table]
    async with server(answer=NO_PASSWORD) as (port, _):
        for at, why in (
            (9, "connection refused"),
            (port, "the proxy answered 407, because it wants a user name and a password"),
        ):
            monkeypatch.setenv("ALL_PROXY", f"http://me:kestrel9@127.0.0.1:{at}")
            provider = made(tables, f"{scheme}://gpu.invalid", allow_insecure=True)
            said = str(await ask(provider, model))

            assert said.startswith(f"Cannot reach {scheme}://gpu.invalid: {why}")
            assert "the proxy that ALL_PROXY names" in said
            assert "kestrel9" not in said


@pytest.mark.parametrize(
    ("exceptions", "is_proxied"),
    [
        ("localhost,[::1]", True),
        ("[::1], 10.0.0.0/8, 255.255.255.255:80", True),
        ("[::1],255.255.255.255:9", False),
        ("[::1] 255.0.0.0/8", False),
    ],
)
@pytest.mark.parametrize("table", TABLES)
async def test_no_proxy_is_read_alike(table, exceptions, is_proxied, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", exceptions)
    model, _, tables = TABLES[table]

    unreachable = made(tables, "http://255.255.255.255:9", allow_insecure=True)
    said = str(await ask(unreachable, model))

    assert ("through the proxy" in said) is is_proxied


@pytest.mark.parametrize("table", TABLES)
async def test_a_socks_proxy_without_its_package_is_refused_by_name(table, monkeypatch):
    for package in ("socksio", "aiohttp_socks"):
        monkeypatch.setitem(sys.modules, package, None)
    model, _, tables = TABLES[table]
    provider = made(tables, "http://gpu.invalid", proxy="socks5://p:1", allow_insecure=True)

    error = await ask(provider, model)

    assert isinstance(error, ConfigurationError)
    assert "proxy names a SOCKS proxy, which needs the package" in str(error)


@pytest.mark.parametrize("table", TABLES)
async def test_this_machine_is_reached_without_the_proxy(table):
    model, path, tables = TABLES[table]
    async with server() as (port, seen):
        await ask(made(tables, f"http://127.0.0.1:{port}", proxy="http://127.0.0.1:9"), model)

    assert any(path in head for head, _ in seen)


@pytest.mark.parametrize("table", TABLES)
async def test_ssl_cert_file_counts_on_this_machine(table, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", PEM)
    monkeypatch.setattr(reach, "_loaded", reach._loaded.__wrapped__)
    model, path, tables = TABLES[table]
    async with server(asking_for_a_certificate()) as (port, seen):
        await ask(made(tables, f"https://127.0.0.1:{port}"), model)

    assert any(path in head for head, _ in seen)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
async def test_a_file_that_cannot_be_used_is_named(table, key):
    model, _, tables = TABLES[table]
    for path in ("missing.pem", __file__):
        error = await ask(made(tables, "https://127.0.0.1:9", **{key: path}), model)

        assert isinstance(error, ConfigurationError)
        assert str(error).startswith(f"{key} names {path}, which cannot be read")


@pytest.mark.parametrize(
    "make",
    [
        lambda proxy: Settings(_environment={}, ollama={"proxy": proxy}),
        lambda proxy: Settings(_environment={}, openai={"proxy": proxy}),
        lambda proxy: Reach(proxy=proxy),
    ],
    ids=["ollama", "openai", "code"],
)
def test_what_is_no_proxy_is_refused_without_its_value(make):
    with pytest.raises((ValidationError, ConfigurationError), match="proxy") as caught:
        make("http://me:kestrel9@")

    assert "kestrel9" not in str(caught.value)


@pytest.mark.parametrize("proxy", [5, ["http://p"], b"http://p", "", "ftp://p"])
def test_code_that_names_no_proxy_gets_an_error_of_the_tree(proxy):
    with pytest.raises(ConfigurationError, match=r"^proxy "):
        Reach(proxy=proxy)


def test_a_proxy_is_hidden_where_settings_and_endpoints_are_shown():
    proxy = "http://me:kestrel9@proxy.example"
    settings = Settings(_environment={}, ollama={"proxy": proxy}, openai={"proxy": proxy})
    shown = f"{settings!r} {settings.model_dump_json()} {Reach(proxy=proxy)!r}"

    assert "kestrel9" not in shown


async def test_constructors_take_it_too():
    reach = Reach(ca_file=PEM, client_cert=(PEM,))
    async with server(asking_for_a_certificate()) as (port, seen):
        url = f"https://127.0.0.1:{port}"
        await ask(OllamaModelProvider(base_url=url, reach=reach), "m")
        await ask(OpenAICompatibleProvider(OpenAIEndpoint(url, reach=reach)), "m")

    assert seen
    assert all(shown for _, shown in seen)
