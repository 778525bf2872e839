import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.traces.redaction import MASK, Redaction

KEYS = [
    "sk-proj-abcdefghijklmnop1234",
    "gsk_abcdefghijklmnop1234",
    "ghp_abcdefghijklmnopqrst1234",
    "github_pat_abcdefghijklmnopqrst1234",
    "xoxb-1234567890-abc",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc-def",
    "0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOpQrStUvWx",
    "Bearer abcdefghijklmnop1234",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_never_kept(key):
    redaction = Redaction()

    assert redaction.text(f"my key is {key}, keep it") == f"my key is {MASK}, keep it"
    assert json.loads(redaction.json(json.dumps({"a": [f"x {key} y"]}))) == {"a": [f"x {MASK} y"]}
    assert key.encode() not in redaction.body(json.dumps({"a": key}).encode())


def test_the_password_of_a_url_is_never_kept():
    assert Redaction().text("postgres://me:pass@db/x") == f"postgres://{MASK}@db/x"


def test_a_private_key_is_never_kept():
    text = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"

    assert Redaction().text(f"a {text} b") == f"a {MASK} b"
    assert "abc" not in Redaction().json(json.dumps({"a": text}))


def test_patterns_and_secrets_are_redacted_as_well():
    redaction = Redaction([r"\d{4}-\d{4}", 'say "hi"'], ["s3cr3t.*"])

    assert redaction.text("1234-5678 s3cr3t.* s3cr3tXX") == f"{MASK} {MASK} s3cr3tXX"
    text = json.dumps({"a": 'they say "hi"\n'})
    assert json.loads(redaction.json(text)) == {"a": f"they {MASK}\n"}


def stream(*contents):
    lines = [{"message": {"role": "assistant", "content": text}} for text in contents]
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def texts(body):
    return [json.loads(line)["message"]["content"] for line in body.split(b"\n") if line]


def test_a_key_that_streams_in_pieces_is_never_kept():
    pieces = ["The key: sk-", "abcdefgh", "ijklmnopqrst", " is it"]

    body = Redaction().body(stream(*pieces))

    assert texts(body) == [f"The key: {MASK} is it", "", "", ""]


def test_a_pattern_that_streams_in_pieces_is_never_kept():
    body = Redaction(["card <\\d+>"]).body(stream("my ca", "rd <12", "34> ok"))

    assert texts(body) == [f"my {MASK} ok", "", ""]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_a_body_without_anything_to_hide_stays_byte_for_byte(contents):
    body = stream(*contents)

    assert Redaction().body(body) == body
    assert Redaction(["never-there-\\d{9}"]).body(body) == body


def test_a_body_that_is_no_json_is_redacted_as_text():
    body = b"<html>sk-abcdefghijklmnop1234 \xff"

    assert Redaction().body(body) == f"<html>{MASK} \ufffd".encode()
    assert Redaction(["html"]).body(b"<html>") == f"<{MASK}>".encode()


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no regular expression"):
        Redaction(["("])
