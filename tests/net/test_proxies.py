"""Which proxy a request goes through."""

import pytest

from timestep.net import proxies


def proxy_for(url):
    return proxies.proxy_for(url, socks_package="aiohttp_socks")


NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "variables", "name"),
    [
        ("http://gpu:11434", {}, None),
        ("http://gpu:11434", {"HTTP_PROXY": "http://p:1"}, "HTTP_PROXY"),
        ("http://gpu:11434", {"http_proxy": "http://p:1"}, "http_proxy"),
        (
            "http://gpu:11434",
            {"HTTP_PROXY": "http://x:1", "http_proxy": "http://p:1"},
            "http_proxy",
        ),
        ("http://gpu:11434", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://ollama.com", {"HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY"),
        ("https://ollama.com", {"ALL_PROXY": "http://p:1"}, "ALL_PROXY"),
        ("https://ollama.com", {"ALL_PROXY": "http://x:1", "HTTPS_PROXY": "p:1"}, "HTTPS_PROXY"),
        ("http://gpu", {"HTTP_PROXY": ""}, None),
        ("http://localhost:11434", {"HTTP_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}, None),
        ("http://127.0.0.2", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://[::1]:11434", {"HTTP_PROXY": "http://p:1"}, None),
    ],
)
def test_the_variable_for_the_scheme_wins_and_this_machine_needs_none(
    monkeypatch, url, variables, name
):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    proxy = proxy_for(url)

    assert (proxy and proxy.name) == name
    assert proxy is None or proxy.url == "http://p:1"


@pytest.mark.parametrize(
    ("url", "exceptions", "is_exempt"),
    [
        ("http://gpu:11434", "gpu", True),
        ("http://gpu:11434", "GPU", True),
        ("http://gpu:11434", "other, gpu", True),
        ("http://gpu:11434", "other gpu", True),
        ("http://gpu:11434", "*", True),
        ("http://gpu:11434", "gpu:11434", True),
        ("http://gpu:11434", "gpu:80", False),
        ("http://gpu", "gpu:80", True),
        ("https://gpu", "gpu:443", True),
        ("http://a.example.com", "example.com", True),
        ("http://a.example.com", ".example.com", True),
        ("http://a.example.com", "*.example.com", True),
        ("http://example.com", ".example.com", True),
        ("http://example.com.", "example.com", True),
        ("http://badexample.com", "example.com", False),
        ("http://10.1.2.3:11434", "10.0.0.0/8", True),
        ("http://10.1.2.3:11434", "10.1.2.3", True),
        ("http://10.1.2.3:11434", "10.1.2.3:11434", True),
        ("http://11.1.2.3:11434", "10.0.0.0/8", False),
        ("http://[fd00::7]:11434", "fd00::/8", True),
        ("http://[fd00::7]:11434", "fd00::7", True),
        ("http://[fd00::7]:11434", "[fd00::7]", True),
        ("http://[fd00::7]:11434", "[fd00::7]:11434", True),
        ("http://[fd00::7]:11434", "[fd00::7]:80", False),
        ("http://[fd01::7]:11434", "[::1],fd00::7,::1", False),
        ("http://gpu", "[::1], fd00::/8, [, ], :, ., *., ::::, /8, a:b:c, 10.0.0.0/99", False),
        ("http://gpu", "", False),
    ],
)
def test_exceptions_are_names_addresses_and_networks(monkeypatch, url, exceptions, is_exempt):
    monkeypatch.setenv("ALL_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", exceptions)

    assert (proxy_for(url) is None) is is_exempt


@pytest.mark.parametrize(
    ("value", "scheme", "url", "user", "password"),
    [
        ("p", "http", "http://p:80", "", ""),
        ("p:3128", "http", "http://p:3128", "", ""),
        ("http://p:3128/", "http", "http://p:3128", "", ""),
        ("HTTP://p", "http", "http://p:80", "", ""),
        ("https://p", "https", "https://p:443", "", ""),
        ("http://[fd00::1]:3128", "http", "http://[fd00::1]:3128", "", ""),
        ("http://me:a%40b@p", "http", "http://p:80", "me", "a@b"),
        ("socks5://p", "socks5", "socks5://p:1080", "", ""),
        ("socks5h://p:9", "socks5", "socks5://p:9", "", ""),
        ("socks4a://p", "socks4", "socks4://p:1080", "", ""),
    ],
)
def test_a_proxy_is_read_from_its_url(monkeypatch, value, scheme, url, user, password):
    monkeypatch.setenv("HTTP_PROXY", value)

    proxy = proxy_for("http://gpu")

    assert (proxy.scheme, proxy.url, proxy.user, proxy.password) == (scheme, url, user, password)
    assert "a@b" not in repr(proxy)


@pytest.mark.parametrize(
    ("value", "looks_up"),
    [("socks4://p", False), ("socks4a://p", True), ("socks5://p", False), ("socks5h://p", True)],
)
def test_the_scheme_says_who_looks_up_host_names(monkeypatch, value, looks_up):
    monkeypatch.setenv("ALL_PROXY", value)

    assert proxy_for("http://gpu").looks_up is looks_up


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("http://secret:0", "is not the address"),
        ("http://secret:99999", "is not the address"),
        ("http://secret:port", "is not the address"),
        ("http://[secret", "is not the address"),
        ("http://", "is not the address"),
        ("se cret", "is not the address"),
        ("http://secret\x01:9", "is not the address"),
        ("http://secret\udcff:9", "is not the address"),
        ("ftp://secret", "an unsupported kind of proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_value(monkeypatch, value, words):
    monkeypatch.setenv("HTTPS_PROXY", value)

    with pytest.raises(ValueError, match=f"^HTTPS_PROXY .*{words}") as caught:
        proxy_for("https://gpu")

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
