import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from timestep.net.secrets import KEY_PATTERNS
from timestep.traces.records import Exchange, SpanEnded, SpanStarted, TraceEnded, TraceStarted
from timestep.traces.redaction import MASK, Redaction

KEYS = [
    "sk-proj-abcdefghijklmnop1234",
    "gsk_abcdefghijklmnop1234",
    "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw",
    "dop_v1_a1b2c3d4a1b2c3d4",
    "ghp_abcdefghijklmnopqrst1234",
    "github_pat_abcdefghijklmnopqrst1234",
    "xoxb-1234567890-abc",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "AKIAABCDEFGHIJKLMNOP",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc-def",
    "keyJyeyJhbGciOiJIUzI1NiJ9-eyJ0.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc-def",
    "0123456789abcdef0123456789abcdef.AbCdEfGhIjKlMnOpQrStUvWx",
    "Bearer abcdefghijklmnop1234",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_never_kept(key):
    redaction = Redaction()

    assert redaction.text(f"my key is {key}, keep it") == f"my key is {MASK}, keep it"
    assert json.loads(redaction.json(json.dumps({"a": [f"x {key} y"]}))) == {"a": [f"x {MASK} y"]}
    assert json.loads(redaction.json(json.dumps({"a": {key: 1}}))) == {"a": {MASK: 1}}
    assert key.encode() not in redaction.body(json.dumps({"a": key}).encode())
    assert key.encode() not in redaction.body(json.dumps({"a": {key: 1}}).encode())


SIGNS = [
    sign for signs, _ in KEY_PATTERNS for sign in signs if sign[0].islower() and sign[-1] in "-_"
]


@pytest.mark.parametrize("sign", SIGNS)
def test_every_sign_begins_a_key(sign):
    assert Redaction().text(f"a {sign}{'A1b2' * 6} z") == f"a {MASK} z"


def test_names_that_are_hidden_stay_two():
    text = json.dumps({KEYS[0]: 1, KEYS[1]: 2, "c": 3})

    assert json.loads(Redaction().json(text)) == {MASK: 1, f"{MASK} 2": 2, "c": 3}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("before", ["\n", "\\n", "\t", "/"])
def test_a_key_at_the_beginning_of_a_line_is_never_kept(key, before):
    text = f"is:{before}{key}"
    arguments = json.dumps({"text": text})

    assert key not in Redaction().json(json.dumps({"input": arguments}))
    assert key.encode() not in Redaction().body(stream("is:", before, key))


def test_a_key_that_json_writes_with_escapes_is_never_kept():
    body = rb'{"a": "postgres:\/\/me:pass\u0040db", "b": "sk\u002Dproj-abcdefghijklmnop1234"}'

    assert json.loads(Redaction().body(body)) == {"a": f"postgres://{MASK}@db", "b": MASK}


def test_the_password_of_a_url_is_never_kept():
    assert Redaction().text("postgres://me:pass@db/x") == f"postgres://{MASK}@db/x"


def test_a_private_key_is_never_kept():
    text = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"

    assert Redaction().text(f"a {text} b") == f"a {MASK} b"
    assert "abc" not in Redaction().json(json.dumps({"a": text}))


def test_a_private_key_behind_a_broken_off_one_is_never_kept():
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"

    assert Redaction().text(f"{begin} {begin}\na-b--c\n{end}") == f"{begin} {MASK}"


BEGINNINGS = [
    *(sign for signs, _ in KEY_PATTERNS for sign in signs),
    *("eyJ", "-eyJ", "-a.eyJ", "eyJaaaaaaaa.", "-eyJaaaaaaaa.eyJ-", "a.aaaaaaaaaaaaaaaaaaaaa"),
    *("-----BEGIN ", "-----BEGIN A", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"),
    *("://a:", "@://a", "Bearer ", "Bearer a", "AKIAA", "0123456789abcdef.", "-", "\\n"),
]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_long_text_of_nothing_but_beginnings_of_keys_is_soon_looked_through(beginning):
    # A search that takes the square of the length never ends here: the time limit of tests does.
    text = beginning * (1_000_000 // len(beginning)) + ".eyJ :// @ PRIVATE KEY-----"
    body = json.dumps({"message": {"content": text}}).encode()

    for cleaned in (Redaction().json(json.dumps(text)).encode(), Redaction().body(body)):
        assert b"PRIVATE KEY-----" in cleaned


def test_patterns_and_secrets_are_redacted_as_well():
    redaction = Redaction([r"\d{4}-\d{4}", 'say "hi"'], ["s3cr3t.*"])

    assert redaction.text("1234-5678 s3cr3t.* s3cr3tXX") == f"{MASK} {MASK} s3cr3tXX"
    text = json.dumps({"a": 'they say "hi"\n'})
    assert json.loads(redaction.json(text)) == {"a": f"they {MASK}\n"}


def stream(*contents, separators=(",", ":"), name="content"):
    lines = [{"message": {"role": "assistant", name: text}} for text in contents]
    return b"".join(json.dumps(line, separators=separators).encode() + b"\n" for line in lines)


def texts(body):
    return [json.loads(line)["message"]["content"] for line in body.split(b"\n") if line]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" , ", "\t:\t")])
def test_a_key_that_streams_in_pieces_is_never_kept(separators):
    pieces = ["The key: sk-", "abcdefgh", "ijklmnopqrst", " is it"]

    body = Redaction().body(stream(*pieces, separators=separators))

    assert texts(body) == [f"The key: {MASK} is it", "", "", ""]


DELTAS = {
    "details of reasoning": lambda text: {
        "reasoning_details": [{"type": "reasoning.text", "text": text}]
    },
    "a summary": lambda text: {
        "reasoning_details": [{"type": "reasoning.summary", "summary": text}]
    },
    "encrypted reasoning": lambda text: {"reasoning_details": [{"data": text}]},
    "parts": lambda text: {"content": [{"type": "text", "text": text}]},
    "parts that think": lambda text: {
        "content": [{"type": "thinking", "thinking": [{"text": text}]}]
    },
    "a call": lambda text: {"tool_calls": [{"function": {"arguments": text}}]},
    "a call of a custom tool": lambda text: {"tool_calls": [{"custom": {"input": text}}]},
    "a call of old": lambda text: {"function_call": {"arguments": text}},
}


@pytest.mark.parametrize("delta", DELTAS.values(), ids=DELTAS)
def test_a_key_that_streams_in_pieces_of_a_chat_completion_is_never_kept(delta):
    chunks = [
        {"choices": [{"delta": delta(text)}]} for text in ("Well! ", "sk-abcd", "efghijkl", "mnopq")
    ]
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)

    told = Redaction().body(body).decode()
    assert "efghijkl" not in told
    assert "Well! [redacted]" in told


def test_a_key_that_streams_between_thoughts_is_never_kept():
    thought = stream("Well! ", name="thinking")

    body = Redaction().body(thought.join([stream("sk-abcd"), stream("efghijkl"), stream("mnopq")]))

    assert b"efghijkl" not in body
    assert body.count(b"Well!") == 2


@pytest.mark.parametrize("rest", [b'{"message":{"con', b"<html>", b"\n{}\nsk-abcdefghijklmnop1234"])
def test_a_key_of_a_stream_that_broke_off_is_never_kept(rest):
    body = Redaction().body(stream("so sk-abcd", "efghijkl", "mnopq") + rest)

    first, *others = body.split(b"\n")
    assert texts(first) == [f"so {MASK}"]
    for piece in (b"sk-abcd", b"efghijkl", b"mnopq"):
        assert piece not in body
    assert others[-1] == rest.replace(b"sk-abcdefghijklmnop1234", MASK.encode()).split(b"\n")[-1]


def test_a_key_beside_half_a_surrogate_pair_is_never_kept():
    body = json.dumps({"message": {"content": "\ud800 sk-abcdefghijklmnop1234"}}).encode()

    assert json.loads(Redaction().body(body)) == {"message": {"content": f"\ud800 {MASK}"}}


@pytest.mark.parametrize("depth", [200, 600, 10_000])
def test_a_key_in_json_that_is_nested_deep_is_never_kept(depth):
    text = "[" * depth + '"sk-abcdefghijklmnop1234"' + "]" * depth

    assert Redaction().json(text) == text.replace("sk-abcdefghijklmnop1234", MASK)
    assert Redaction().body(text.encode()).decode() == Redaction().json(text)


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


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "redact: this is not a regular expression"),
        ("(" * 2_000 + ")" * 2_000, "it is nested too deep"),
        ("a*", "matches the empty text"),
    ],
)
def test_a_pattern_that_is_none_is_refused(pattern, words):
    with pytest.raises(ValueError, match=words):
        Redaction([pattern])


@given(
    st.one_of(*(st.from_regex(pattern, fullmatch=True) for _, pattern in KEY_PATTERNS)),
    st.sampled_from([", ", "=", "\n", "\\n", "(", " Bearer "]),
)
def test_whatever_a_pattern_describes_is_taken_out_of_every_part_of_an_event(key, before):
    text = f"so{before}{key} it is"
    assume(Redaction().text(text) != text)
    quoted = json.dumps({"message": {"content": text}}, separators=(",", ":"))
    exchange = Exchange("u", 200, quoted.encode(), stream(*text))
    end = SpanEnded("s", "t", "function", text, 1.0, quoted, quoted, text, exchanges=(exchange,))
    start = SpanStarted("s", "t", None, "function", text, 1.0)

    trace = TraceStarted("t", text, None, quoted, 1.0)
    group = TraceStarted("t", "run", text, None, 1.0)
    called = SpanEnded("s", "t", "generation", "m", 1.0, None, "{}", model=text)
    for known in (trace, group, start, end, called):
        [event] = Redaction().events([known])
        assert MASK in str(event)
        for part in (key, json.dumps(key)[1:-1]):
            assert part not in str(event)


def test_events_without_anything_to_hide_are_not_copied():
    events = [SpanStarted("s", "t", None, "function", "x" * 40, 1.0), TraceEnded("t", 1.0)]

    assert Redaction(secrets=["s3cret"]).events(events) is events
