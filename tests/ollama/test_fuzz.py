"""Any input ends in a result or an error of the tree, in bounded time and memory."""

import itertools
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from agents import Agent, RunConfig, Runner
from hypothesis import example, given
from hypothesis import strategies as st

from tests.ollama.answers import call, chunk, last, ndjson, new_reply, recordings
from timestep import ConfigurationError, MultiModelProvider, TimestepError
from timestep.config.settings import load_settings
from timestep.errors import OllamaError, UnsupportedInputError
from timestep.net.encoding import encode
from timestep.ollama.request.content import remote_images
from timestep.ollama.request.grammar import to_format
from timestep.ollama.request.messages import build_conversation
from timestep.ollama.request.parameters import narrow_parameters
from timestep.ollama.request.refs import Inliner

DEEP = 10_000


def nested(depth, leaf=1, key=None):
    value = leaf
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


def nested_text(depth):
    return "[" * depth + "]" * depth


def decoded(*pieces):
    """What the decoder makes of a body: its output, or the error."""
    reply = new_reply()
    try:
        for piece in pieces:
            reply.feed(piece)
            reply.take_events()
        reply.end_of_body()
    except OllamaError as exc:
        reply.fail(str(exc))
        reply.take_events()
        return exc
    reply.finish()
    assert all(event.model_dump_json() for event in reply.take_events())
    return reply.output


def line(message, **fields):
    return json.dumps({"message": {"role": "assistant", **message}, "done": False, **fields})


ANSWERS = {
    "a line that is nested deep": nested_text(DEEP),
    "text that is nested deep": line({"content": "X"}).replace('"X"', nested_text(DEEP)),
    "arguments that are nested deep": line({"tool_calls": [call("f", {"a": "X"})]}).replace(
        '"X"', nested_text(DEEP)
    ),
    "arguments as text that is nested deep": line(
        {"content": "", "tool_calls": [call("f", nested_text(DEEP))]}
    ),
    "half a pair": line({"content": "\ud800"}),
    "half a pair in arguments": line({"tool_calls": [call("f", {"a": "\udc00"})]}),
    "half a pair in raw bytes": line({"content": "X"}).encode().replace(b"X", b"\xed\xa0\x80"),
    "NaN in arguments": line({"tool_calls": [call("f", {"a": float("nan"), "b": float("inf")})]}),
    "NaN as a count": line({"content": "a"}, eval_count=float("nan"), total_duration=float("inf")),
    "an integer of 5000 digits": line({"content": "a"}, eval_count="X").replace('"X"', "9" * 5000),
    "the same key twice": '{"message":{"content":"a","content":"b"},"message":{"content":"c"}}',
}


@pytest.mark.parametrize("body", ANSWERS.values(), ids=ANSWERS)
def test_an_extreme_answer_is_read_or_refused(body):
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    halves = (body[: len(body) // 2], body[len(body) // 2 :])

    whole = decoded(body + b"\n", ndjson(last()))
    split = decoded(*halves, b"\n", ndjson(last()))

    assert repr(whole) == repr(split)


INPUTS = {
    "arguments": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": nested_text(DEEP)}],
    "arguments as a value": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": nested(300)}}
    ],
    "an output": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": nested(DEEP)},
    ],
    "content": [{"role": "user", "content": nested(DEEP)}],
    "parts": [{"role": "user", "content": nested(DEEP, key="content")}],
    "an item": [nested(DEEP)],
    "thinking": [{"type": "reasoning", "summary": nested(DEEP)}],
    "half a pair": [{"role": "user", "content": "\ud800"}],
    "NaN": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": NaN}'}],
    "5000 digits": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": f'{{"a": {"9" * 5000}}}'}
    ],
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize("items", INPUTS.values(), ids=INPUTS)
def test_extreme_input_is_sent_or_refused(items):
    with suppress(TimestepError):
        remote_images(items)
        assert json.loads(encode({"messages": build_conversation(items, model="m").messages}))


def bomb(size):
    """A schema that doubles with every reference."""
    below = {
        f"d{number}": {
            "type": "object",
            "properties": {name: {"$ref": f"#/$defs/d{number + 1}"} for name in "ab"},
        }
        for number in range(size)
    }
    return {"type": "object", "$defs": below, "properties": {"x": {"$ref": "#/$defs/d0"}}}


@pytest.mark.parametrize(
    "schema",
    [
        nested(DEEP, {"type": "string"}, "items"),
        nested(DEEP, {"type": "string"}, "anyOf"),
        {"type": "object", "properties": nested(DEEP, {"type": "string"}, "properties")},
        {"allOf": nested(DEEP)},
        bomb(60),
    ],
    ids=["items", "anyOf", "properties", "allOf", "references"],
)
def test_an_extreme_schema_is_narrowed(schema):
    assert len(encode({"a": narrow_parameters(schema).schema})) < 1_000_000
    Inliner(schema).expand(schema)
    to_format(schema)


@pytest.mark.parametrize(
    ("number", "said"),
    [(float("nan"), "NaN"), (float("inf"), "infinite"), (float("-inf"), "infinite")],
)
def test_a_number_that_json_cannot_say_is_refused_by_its_place(number, said):
    schema = {"type": "object", "properties": {"a": {"enum": [1.0, number]}}}

    with pytest.raises(
        UnsupportedInputError, match=rf"tools\[0\].properties.a.enum\[1\] is {said}"
    ):
        encode({"say": "NaN, Infinity", "tools": [narrow_parameters(schema).schema]})
    assert encode({"say": "NaN, Infinity"})


BODIES = [recording.body for recording in recordings("/api/chat", status=200)]


@given(st.data())
def test_a_recorded_answer_that_was_damaged_is_read_or_refused_alike_however_it_is_split(data):
    body = bytearray(data.draw(st.sampled_from(BODIES)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 40)))
        odd = st.binary(max_size=8) | st.sampled_from([b"\n", b'"', b"{", b"}", b"NaN", b"\\ud800"])
        body[start:end] = data.draw(odd | st.just(bytes(body[start:end]) * 2))
    places = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)))
    edges = [0, *places, len(body)]

    whole = decoded(bytes(body))
    split = decoded(*(bytes(body[a:b]) for a, b in itertools.pairwise(edges)))

    assert repr(whole) == repr(split)


TOML = st.lists(
    st.sampled_from(
        ["[ollama]", "[aliases]", "[providers.x]", "[[aliases]]", "[ollama.options]", "\n", "=", ".", "{", "}", "[", "]", ",", '"', "'''", "#", "a", "default_model", "kind", "base_url", "timeout", "openai", "nan", "inf", "-1", "1e400", "0x1", "1979-05-27", "true", '"a"', '"env:A"', '"http://["', '"\\u0000"', "\\ud800", "\x00", "é", "\r", " "]
    )
    | st.text(max_size=4),
    max_size=14,
).map("".join)  # a table reads better in rows # fmt: skip


def load(name, text):
    """Load the settings with the file *name*; an error of ours is fine."""
    Path(name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigurationError):
        load_settings()


@given(TOML)
@example(f"[ollama.options]\nx = {nested_text(DEEP)}")
@example("[ollama.options]\nnum_ctx = " + "9" * 5000)
def test_any_toml_is_a_configuration_or_an_error_of_configuration(text):
    load("timestep.toml", text)


@given(
    st.lists(
        st.sampled_from(["TIMESTEP_", "OLLAMA__", "ALIASES__A", "OPTIONS__", "DEFAULT_MODEL", "=", "\n", "'", '"', "#", "$", "${A}", "\\", "export ", "{", "[", "\x00", "é"])
        | st.text(max_size=3),
        max_size=12,
    ).map("".join)
)  # a table reads better in rows # fmt: skip
def test_any_dotenv_is_a_configuration_or_an_error_of_configuration(text):
    load(".env", text)


# Hypothesis lifts Python's limit of recursion, so these have a test of their own.
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timestep.toml", "[" + ".".join("a" * 1000) + "]"),
        ("timestep.toml", f"[ollama.options]\nx{'.x' * 1000} = 1"),
        (".env", "TIMESTEP_OLLAMA__OPTIONS__" + "__".join("A" * 2000) + "=1"),
        (".env", f"TIMESTEP_OLLAMA__OPTIONS={json.dumps(nested(300, key='a'))}"),
    ],
    ids=["header", "key", "variable", "JSON"],
)
def test_settings_that_are_nested_deep_are_refused(name, text):
    Path(name).write_text(text)

    with pytest.raises(ConfigurationError, match="more than 50 deep"):
        load_settings()


NAMES = st.sampled_from(["a", "b", "c/d", "ollama/a", "ollama/", "/a", "/", "", "x/y/z", "é", "\ud800"])  # a table reads better in rows # fmt: skip


@example({"a": []}, "a")
@given(st.dictionaries(NAMES, NAMES | st.lists(NAMES, max_size=3), max_size=4), NAMES | st.none())
def test_any_name_and_any_aliases_lead_to_a_model_or_an_error_of_ours(aliases, name):
    def by_settings():
        settings = load_settings(aliases=aliases, openai={"api_key": "k" * 12})
        return MultiModelProvider.from_settings(settings)

    def by_hand():
        return MultiModelProvider(openai_api_key="k" * 12, aliases=aliases)

    for build in (by_settings, by_hand):
        with suppress(TimestepError):
            build().get_model(name)


def peak(work):
    """The most bytes that Python held while *work* ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_line_of_50_mb_costs_a_small_multiple_of_its_size():
    size = 50_000_000
    body = ndjson(chunk("x" * size), last())
    pieces = [body[start : start + 16_384] for start in range(0, len(body), 16_384)]

    assert peak(lambda: decoded(*pieces)) < 8 * size


def test_a_line_in_single_bytes_costs_no_more_than_its_size():
    reply = new_reply()

    def feed():
        for _ in range(50_000):
            reply.feed(b"x")

    assert peak(feed) < 250_000


def test_many_chunks_cost_no_more_than_their_text():
    one = ndjson(chunk("a "))
    count = 50_000

    assert peak(lambda: decoded(*([one * 50] * (count // 50)), ndjson(last()))) < count * 200


async def test_an_answer_of_6_mb_in_one_line_arrives(fake_ollama, provider):
    fake_ollama.reply(pieces=["x" * 6_000_000])

    result = await Runner.run(
        Agent("a", model="m"),
        "hi",
        run_config=RunConfig(model_provider=provider, tracing_disabled=True),
    )

    assert len(result.final_output) == 6_000_000
