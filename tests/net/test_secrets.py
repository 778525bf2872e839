"""What is secret in headers and texts, and what is left in the clear."""

import json
from base64 import b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from timestep import Settings, load_settings
from timestep.net.origin import Origin
from timestep.net.secrets import (
    PLACEHOLDERS,
    configured_keys,
    masked_json,
    masker,
    secrets_in,
    secrets_in_url,
    without_private,
)

SECRETS = [
    ("X-Api-Key", "s3cret12345", ["s3cret12345"]),
    ("X-Api-Key", "abc123", ["abc123"]),
    ("X-Api-Key", "secret", ["secret"]),
    ("X-Api-Key", "abc12", []),
    ("X-Api-Key", "  padded-key ", ["padded-key"]),
    ("X-Pass", "a b c d", ["a b c d"]),
    ("X-Pass", "my secret phrase", ["my secret phrase", "phrase", "secret"]),
    (
        "Cookie",
        "session=SECRET; theme=dark",
        ["session=SECRET; theme=dark", "session=SECRET", "theme=dark", "SECRET"],
    ),
    ("Cookie", 'id="in quotes"; a=b', ['id="in quotes"; a=b', "quotes"]),
    ("Authorization", "Bearer sk-123", ["sk-123"]),
    ("Authorization", "Bearer s3cr", ["s3cr"]),
    ("Authorization", "Bearer abcd", []),
    ("Authorization", "Bearer ollama", []),
    ("Authorization", "no-scheme", ["no-scheme"]),
    ("AUTHORIZATION", "Basic YW5uOnBhc3M=", ["YW5uOnBhc3M="]),
    ("Proxy-Authorization", "Basic YW5uOnBhc3M=", ["YW5uOnBhc3M="]),
    ("X-Api-Authorization", "Bearer sk-123", ["sk-123"]),
    ("X-Api-Key", "bearer", ["bearer"]),
    ("X-Api-Key", "Bearer s3cret12345", ["s3cret12345"]),
    ("Cookie", "a=b; k=bearer", ["bearer"]),
    ("X-Api-Key", "ollama", []),
    ("Proxy-Authorization", "Bearer s3cr", ["s3cr"]),
    ("Content-Type", "application/json", []),
    ("User-Agent", "agents of mine", []),
    ("X-Title", "my application", []),
]


@pytest.mark.parametrize(("name", "value", "secrets"), SECRETS)
def test_every_part_of_a_header_is_secret(name, value, secrets):
    found = secrets_in({name: value})

    assert set(secrets) <= set(found)
    assert all(secret in value for secret in found)
    assert (not found) is (not secrets)
    assert sorted(found, key=len, reverse=True) == list(found)


@given(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~", min_size=6, max_size=40),
    st.sampled_from(
        [
            *("{}", "k={}", "a=b; k={}; c=d", "x {}", "Token {}", 'k="{}"', "{}, y", "ann:{}"),
            *("a=b={}", "k={}&c=d", "x|{}", "'{}'", "<{}>", '{{"k":"{}","c":1}}', "k: ['{}']"),
        ]
    ),
    st.sampled_from(["X-Api-Key", "Cookie", "Authorization", "x-anything"]),
)
def test_no_part_of_six_characters_is_ever_repeated(part, shape, name):
    assume(part not in PLACEHOLDERS)
    value = shape.format(part)
    masked = masker(secrets_in({name: value}))

    assert part not in masked(f"{part} and {value}")


@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization"])
def test_the_password_in_basic_credentials_is_secret(name):
    value = f"Basic {b64encode(b'ann:s3cret:12345').decode()}"

    assert "s3cret:12345" in secrets_in({name: value})
    assert secrets_in({name: "Basic none"}) == ()


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://h/v1/0123456789abcdef/openai", ["0123456789abcdef"]),
        ("https://h/sk%2Dlong%2Dsecret%2D1", ["sk%2Dlong%2Dsecret%2D1", "sk-long-secret-1"]),
        ("https://h/v1?api-key=0123456789abcdef&v=1", ["0123456789abcdef"]),
        ("https://h/compatible-mode/v1beta/chat/completions", []),
        ("https://h/openai/deployments/gpt-4o?api-version=2024-10-21", []),
        ("http://localhost:11434", []),
        ("https://user:plain%20words@h/v1", ["plain%20words", "plain words"]),
        ("https://user:x@h/v1", []),
    ],
)
def test_a_key_in_a_url_is_secret(url, secrets):
    assert list(secrets_in_url(url)) == secrets


@pytest.mark.parametrize("urls", ["https://h/0123456789abcdef", ["https://h/0123456789abcdef/"]])
def test_a_key_in_a_configured_url_is_a_configured_key(urls):
    assert configured_keys(Settings(ollama={"base_url": urls})) == ["0123456789abcdef"]


def test_keys_in_queries_and_addresses_of_websockets_are_configured_keys():
    tables = {
        "openai": {"websocket_base_url": "wss://h/0123456789abcdef"},
        "providers": {
            "p": {"kind": "openai", "base_url": "https://p", "query": {"k": "é-23456789abcdef"}}
        },
    }

    found = configured_keys(load_settings(env_file=None, environment={}, **tables))
    assert found == ["0123456789abcdef", "%C3%A9-23456789abcdef", "é-23456789abcdef"]


def test_the_longest_secret_is_masked_first():
    assert masker(["secret", "secret-key"])("a secret-key and a secret") == "a *** and a ***"


def test_json_is_masked_in_names_and_values():
    document = {"sk-key-1": ["sk-key-1", 1, None, {"a": "x sk-key-1"}]}

    assert masked_json(document, masker(["sk-key-1"])) == {"***": ["***", 1, None, {"a": "x ***"}]}


def test_cookies_and_credentials_of_an_answer_are_left_out():
    headers = {"Set-Cookie": "a=b", "AUTHORIZATION": "k", "X-Request-Id": "r"}

    assert without_private(headers) == {"x-request-id": "r"}


@pytest.mark.parametrize("before", [0, 100, 590, 598, 600, 5000])
def test_a_text_is_masked_before_it_is_cut(before):
    secret = "k-" + "1234567890" * 4
    origin = Origin("m", "http://h", (secret,))
    text = "." * before + secret

    assert "1234567890" not in origin.clean(text)
    assert "1234567890" not in origin.quote(text.encode())
    assert "1234567890" not in json.dumps(origin.masked([text]))


def test_what_is_not_a_table_of_settings_has_no_keys():
    assert configured_keys(None) == configured_keys({"a": 1, "b": "text"}) == []


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("session=s3cret-1; theme=x", {"session", "theme"}),
        ("tenant:s3cret-1", {"tenant"}),
        ('{"application": "s3cret-1"}', {"application", 'application":'}),
    ],
)
def test_the_name_of_a_part_is_no_secret(value, names):
    found = secrets_in({"X-Any": value})

    assert "s3cret-1" in found
    assert not names & {*found}


def test_what_stands_before_a_colon_is_secret_unless_it_is_a_plain_word():
    assert {"s3cret-1", "s3cret-2"} <= {*secrets_in({"X-Any": "s3cret-1:s3cret-2"})}
    assert "c2VjcmV0LTE=" in secrets_in({"X-Any": "key c2VjcmV0LTE="})
