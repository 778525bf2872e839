from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.net.urls import (
    LOCAL_OLLAMA,
    OLLAMA_CLOUD,
    authority,
    check_base_url,
    check_secrets_transport,
    is_loopback,
    is_ollama_cloud,
    parse_ollama_host,
    without_secrets,
)

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
        (" https://x/v1// ", "https://x/v1"),
        ("HTTP://Gpu:11434/", "http://Gpu:11434"),
        ("http://[::1]:11434", "http://[::1]:11434"),
        ("http://gpu:11434/ollama", "http://gpu:11434/ollama"),
    ],
)
def test_a_usable_base_url_loses_only_its_last_slash(url, base):
    assert check_base_url(url) == base


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "starts with http:// or https://; write https:// before it"),
        ("localhost:11434", "write http:// before it"),
        ("127.0.0.1", "write http:// before it"),
        ("gpu:11434", "write http:// before it"),
        ("[::1]:11434", "write http:// before it"),
        ("api.example.com/v1", "write https:// before it"),
        (SECRET, "write https:// before it"),
        (f"me:{SECRET}@example.com/v1", "write https:// before it"),
        (f"example.com/v1?key={SECRET}#{SECRET}", "write https:// before it"),
        ("ftp://x", "the scheme is not supported; use http:// or https://"),
        (f"{SECRET}://x", "the scheme is not supported; use http:// or https://"),
        (f"https://me:{SECRET}@x", "must not contain a user name or password; set api_key instead"),
        (f"https://{SECRET}@x", "must not contain a user name or password; set api_key instead"),
        ("https://@x", "must not contain a user name or password; set api_key instead"),
        ("http://", "the base URL has no host, as in 'http://localhost:11434'"),
        ("http://a,http://b", "names one server; write several as a list"),
        ("http:///path", "the base URL has no host"),
        (f"http://x/v1?key={SECRET}", "remove everything from ? or # on"),
        (f"http://x/v1#{SECRET}", "remove everything from ? or # on"),
        ("http://x:99999", "no valid host and port (1 to 65535)"),
        ("http://x:0", "no valid host and port (1 to 65535)"),
        (f"http://x:{SECRET}", "no valid host and port (1 to 65535)"),
        ("http://[::1", "no valid host and port (1 to 65535)"),
        ("http://my host/v1", "a base URL cannot contain a space"),
        ("http://host/my path", "a base URL cannot contain a space"),
    ],
)
def test_an_unusable_base_url_is_refused_with_advice(url, advice):
    with pytest.raises(ValueError, match=r"\w") as caught:
        check_base_url(url)

    assert advice in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "suffix"),
    [
        ("/v1", "/v1"),
        ("/v1/", "/v1"),
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api/chat", "/api/chat"),
        ("/v1/chat/completions", "/v1/chat/completions"),
    ],
)
def test_the_path_of_an_api_is_cut_off_an_ollama_url_with_one_warning(caplog, path, suffix):
    assert check_base_url(f"http://gpu:11434/at{path}", ollama=True) == "http://gpu:11434/at"

    (warning,) = caplog.messages
    assert f"http://gpu:11434 ends in '{suffix}', which is cut off" in warning
    assert check_base_url(f"http://gpu:11434{path}") == f"http://gpu:11434{path.rstrip('/')}"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", LOCAL_OLLAMA),
        ("  ", LOCAL_OLLAMA),
        ("''", LOCAL_OLLAMA),
        ("gpu", "http://gpu:11434"),
        ("gpu:8080", "http://gpu:8080"),
        ("gpu:", "http://gpu:11434"),
        (":8080", "http://localhost:8080"),
        ('" gpu:8080 "', "http://gpu:8080"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[::]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("fe80::1", "http://[fe80::1]:11434"),
        ("http://gpu", "http://gpu"),
        ("http://gpu:8080/", "http://gpu:8080"),
        ("https://gpu/ollama", "https://gpu/ollama"),
        ("gpu/ollama/", "http://gpu:11434/ollama"),
        ("ollama.com", OLLAMA_CLOUD),
        ("ollama.com/", OLLAMA_CLOUD),
        ("ollama.com.", OLLAMA_CLOUD),
        ("0.0.0.0.", "http://127.0.0.1:11434"),
        ("gpu.lab.", "http://gpu.lab.:11434"),
        ("https://ollama.com", OLLAMA_CLOUD),
        ("http://", "http://localhost"),
    ],
)
def test_ollama_host_names_the_local_server_as_ollama_reads_it(text, url):
    assert parse_ollama_host(text) == url
    assert check_base_url(url, ollama=True) == url


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (f"http://me:{SECRET}@gpu", "set OLLAMA_API_KEY instead"),
        (f"me:{SECRET}@gpu", "set OLLAMA_API_KEY instead"),
        ("gpu:99999", "no valid host and port"),
        ("gpu:port", "no valid host and port"),
        ("ftp://gpu", "the scheme is not supported"),
        ("gpu box", "cannot contain a space"),
    ],
)
def test_an_unusable_ollama_host_is_refused_with_advice(text, advice):
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_ollama_host(text)

    assert advice in str(caught.value)
    assert SECRET not in str(caught.value)


@given(st.text(), st.booleans())
def test_any_text_is_a_usable_url_or_a_value_error(text, ollama):
    try:
        base = check_base_url(text, ollama=ollama)
    except ValueError:
        return
    assert check_base_url(base, ollama=ollama) == base
    assert urlsplit(base).hostname


@given(st.text())
def test_any_ollama_host_is_a_usable_url_or_a_value_error(text):
    try:
        base = parse_ollama_host(text)
    except ValueError:
        return
    assert check_base_url(base, ollama=True) == base


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:11434", True),
        ("http://LOCALHOST.", True),
        ("http://ollama.localhost", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:80", True),
        ("http://0.0.0.0", False),
        ("http://192.168.0.1", False),
        ("http://localhost.example.com", False),
        ("http://notlocalhost", False),
        ("http://127.0.0.1.example.com", False),
    ],
)
def test_only_this_machine_is_loopback(url, local):
    assert is_loopback(url) is local


@pytest.mark.parametrize(
    ("url", "cloud"),
    [
        ("https://ollama.com", True),
        ("https://OLLAMA.com:443/", True),
        ("https://www.ollama.com", True),
        ("https://ollama.com.", True),
        ("https://OLLAMA.com.:443/", True),
        ("http://ollama.com.", False),
        ("http://ollama.com", False),
        ("https://ollama.com:8443", False),
        ("https://ollama.com.example.com", False),
        ("https://example.com/ollama.com", False),
        ("https://ollama.com@example.com", False),
    ],
)
def test_only_ollama_com_over_https_is_the_cloud(url, cloud):
    assert is_ollama_cloud(url) is cloud


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h:1/a/b", "https://h:1/a/b"),
        ("https://h/@user/api", "https://h/@user/api"),
        ("https://h/a?to=me@x", "https://h/a"),
        (f"https://h?{SECRET}", "https://h"),
        (f"https://h/#{SECRET}", "https://h/"),
        (f"https://me:{SECRET}@h/a?{SECRET}", "https://h/a"),
        (f"https://me:{SECRET}@{SECRET}@h/a", "https://h/a"),
        (f"ws+unix://{SECRET}@h/a", "ws+unix://h/a"),
        (f"//{SECRET}@h/a", "//h/a"),
        (f"me:{SECRET}@h/a", "h/a"),
        (f"/a/@user?{SECRET}", "/a/@user"),
        ("elsewhere", "elsewhere"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert without_secrets(url) == shown


@pytest.mark.parametrize("url", ["https://example.com", "http://localhost:1", "http://[::1]"])
def test_a_key_may_go_encrypted_or_to_this_machine(url):
    check_secrets_transport(url, has_key=True, headers={})


def test_a_key_may_not_go_in_the_clear():
    with pytest.raises(ValueError, match="would go to http://gpu:11434 unencrypted; use https://"):
        check_secrets_transport("http://gpu:11434/path", has_key=True, headers={})


def test_the_authority_holds_no_credentials():
    assert authority(f"https://me:{SECRET}@example.com:1/v1") == "https://example.com:1"
