"""The grammar of FakeOllama refuses what the real server's refuses."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from timestep.testing import FakeOllama, InvalidRequest
from timestep.testing.grammar import GrammarError, check_grammar

WIRE = Path(__file__).parents[1] / "wire"
PARSE = "Failed to initialize samplers: failed to parse grammar"


def text(**limits):
    return {"type": "string", **limits}


def array(**limits):
    return {"type": "array", "items": {"type": "string"}, **limits}


ACCEPTED = {
    "upper case and digits": text(pattern="^[A-Z]{3}-[0-9]+$"),
    "group": text(pattern="^(?:a|b)$"),
    "escaped dot": text(pattern=r"^a\.b$"),
    "1,000": text(maxLength=1000),
    "1,999": text(maxLength=1999),
    "2,001": text(maxLength=2001),
    "5,000": text(maxLength=5000),
    "1,000 items": array(minItems=2, maxItems=1000),
    "uuid": text(format="uuid"),
    "date": text(format="date"),
    "email": text(format="email"),
    "300 values": {"enum": [f"value {number}" for number in range(300)]},
    "empty": {},
    "empty union": {"anyOf": []},
    "limits": {"type": "integer", "minimum": -5, "maximum": 10**14},
    "recursion": {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}}},
    },
}
REFUSED = {
    "digits": (text(pattern=r"^\d{3}$"), PARSE),
    "word": (text(pattern=r"^\w+$"), PARSE),
    "no space": (text(pattern=r"^\S+$"), PARSE),
    "word in a class": (text(pattern=r"^[\w.]+$"), PARSE),
    "escaped slash": (text(pattern=r"^a\/b$"), PARSE),
    "escaped anchor": (text(pattern="^a\\$"), PARSE),
    "repeated character of another script": (text(pattern="^é+$"), PARSE),
    "2,000 in a pattern": (text(pattern="^[a-z]{2000}$"), PARSE),
    "no anchors": (text(pattern="abc"), "Pattern must start with '^' and end with '$'"),
    "one anchor": (text(pattern="^abc"), "Pattern must start with '^' and end with '$'"),
    "bracket too many": (text(pattern="^a)$"), "Unbalanced parentheses"),
    "open class": (text(pattern="^[a$"), "Unbalanced square brackets"),
    "open braces": (text(pattern="^a{2$"), "Unbalanced curly brackets"),
    "three counts": (text(pattern="^a{1,2,3}$"), "Wrong number of values in curly brackets"),
    "no count": (text(pattern="^a{x}$"), "Invalid number in curly brackets"),
    "empty pattern": (text(pattern=""), "would crash"),
    "quantifier of nothing": (text(pattern="^*$"), "would crash"),
    "looks ahead": (text(pattern="^(?=a)$"), "would crash"),
    "2,000 at most": (text(maxLength=2000), PARSE),
    "2,000 at least": (text(minLength=2000), PARSE),
    "fewer than none": (text(minLength=-1), PARSE),
    "backward": (text(minLength=3, maxLength=2), "would hang"),
    "3,000 items": (array(minItems=3000), PARSE),
    "1,999 items at most": (array(maxItems=1999), PARSE),
    "17 digits": ({"type": "integer", "minimum": 10**16}, "would hang"),
    "unknown type": ({"type": "foo"}, 'Unrecognized schema: {"type":"foo"}'),
    "only a title": ({"title": "X"}, 'Unrecognized schema: {"title":"X"}'),
    "true": ({"properties": {"a": True}}, "Unrecognized schema: true"),
    "missing reference": ({"$ref": "#/$defs/Nope"}, "Error resolving ref #/$defs/Nope"),
    "escaped reference": (
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {}}},
        "Error resolving ref #/$defs/a~1b",
    ),
    "the whole": ({"properties": {"a": {"$ref": "#"}}}, "Unsupported ref: #"),
    "reference in data": ({"type": "null", "default": {"$ref": "x"}}, "Unsupported ref: x"),
    "property called $ref": ({"properties": {"$ref": {"type": "null"}}}, "must be string"),
    "begins with itself": (
        {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}},
        PARSE,
    ),
    "open object with a quoted name": (
        {"properties": {'"': {"type": "null"}}, "additionalProperties": True},
        PARSE,
    ),
    "a thousand optional properties": (
        {"properties": {f"p{number}": {"type": "null"} for number in range(1000)}},
        PARSE,
    ),
}


@pytest.mark.parametrize("schema", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_server_takes_is_taken(schema):
    check_grammar(
        {"type": "object", "properties": {"p": schema}} if "$ref" not in schema else schema
    )


@pytest.mark.parametrize(("schema", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_server_refuses_is_refused_in_its_words(schema, words):
    with pytest.raises(GrammarError) as caught:
        check_grammar(schema)

    assert words in str(caught.value)


def exchange(name):
    return json.loads((WIRE / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["bad-type", "ref-missing", "openai-wrapper"])
def test_the_words_are_the_recorded_ones(name):
    recorded = exchange(f"chat-formatvalue-{name}")
    with pytest.raises(GrammarError) as caught:
        check_grammar(recorded["request"]["body"]["format"])

    error = json.loads(json.loads(recorded["response"]["body"])["error"])["error"]
    assert str(caught.value) == error["message"]


@pytest.mark.parametrize(
    "name", ["allof", "anyof", "minmax", "ref-defs", "title-default", "empty-object"]
)
def test_recorded_formats_are_taken(name):
    check_grammar(exchange(f"chat-formatvalue-{name}")["request"]["body"]["format"])


def test_a_request_with_such_a_format_is_answered_400_and_blamed():
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "format": {"type": "foo"},
    }
    fake = FakeOllama(strict=False)
    with fake, pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{fake.url}/api/chat", json.dumps(body).encode())

    inner = json.loads(json.loads(caught.value.read())["error"])["error"]
    assert (caught.value.code, inner["code"], inner["type"]) == (400, 400, "invalid_request_error")
    with pytest.raises(InvalidRequest, match="Unrecognized schema"):
        fake.verify()
