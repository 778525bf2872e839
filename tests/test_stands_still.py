"""Nothing a server sends makes the event loop stand still.

Steps of work are counted, and never time: the calls that Python makes for n parts of an answer, and for
twice as many.
"""

import asyncio
import gzip
import itertools
import json

import pytest
from agents import Agent, RunConfig, Runner
from pydantic import BaseModel

from tests.ollama.answers import call, chunk, last, ndjson
from tests.steps import steps
from timestep import OllamaModelProvider
from timestep.answer import from_text
from timestep.answer.chunks import BrokenEnd, Text
from timestep.answer.from_text import Mismatch, read_calls
from timestep.answer.held_text import Held, ThinkTags
from timestep.errors import OllamaConnectionError, OllamaStreamError
from timestep.net import limits
from timestep.net.origin import Origin
from timestep.net.server_words import parse
from timestep.ollama.lines import ChatLines
from timestep.ollama.server_errors import status_error
from timestep.openai.stream import ChatReader

ORIGIN = Origin("m", "http://h")
PIECE = 16_384
QUIET = RunConfig(tracing_disabled=True)


def is_linear(work, small, large):
    """True when *large*, which is twice *small*, takes about twice the steps."""
    return steps(work, large) <= 2.2 * steps(work, small) + 100


def lines_of(body):
    """The chunks of an Ollama answer in pieces as the transport hands them over."""
    return read(ChatLines(ORIGIN), body)


def events_of(body):
    return read(ChatReader(ORIGIN), body)


def read(reader, body):
    chunks = []
    for at in range(0, len(body), PIECE):
        found = reader.feed(body[at : at + PIECE])
        chunks += found
        if any(isinstance(each, BrokenEnd) for each in found):
            return chunks
    return [*chunks, *reader.end_of_body()]


def failure(chunks):
    (found,) = [str(each.error) for each in chunks if isinstance(each, BrokenEnd)]
    return found


def deltas(pieces, **fields):
    function = {"name": "f", "arguments": "{}"}
    return b"".join(
        b'data: {"choices": [{"delta": {"tool_calls": [%s]}}]}\n\n'
        % json.dumps({"function": {**function, **fields}, **piece}).encode()
        for piece in pieces
    )


LONG = "x" * limits.LONGEST_JSON
PARTS = b"x" * (limits.LONGEST_JSON // 8)

TOO_MUCH = {
    "a long line": (lines_of, ndjson(chunk(LONG), last()), "6 MiB"),
    "a line without an end": (lines_of, LONG.encode() * 2, "6 MiB"),
    "a long event": (
        events_of,
        b'data: {"choices": [{"delta": {"content": "%b"}}]}\n\n' % LONG.encode(),
        "6 MiB",
    ),
    "an event without an end": (events_of, b"data: " + LONG.encode() * 2, "6 MiB"),
    "an event of many long lines": (events_of, b"data: %b\n" % PARTS * 9, "6 MiB"),
    "a long document": (
        events_of,
        b'{"choices": [{"message": {"content": "%b"}}]}' % LONG.encode(),
        "6 MiB",
    ),
    "empty lines": (lines_of, b"\n" * 200_000, "100,000 empty lines"),
    "blank lines": (lines_of, b" \r\n" * 200_000, "100,000 empty lines"),
    "calls in a line": (
        lines_of,
        ndjson(chunk(calls=[call("f")] * 1_001), last()),
        "1,000 tool calls",
    ),
    "calls in many lines": (
        lines_of,
        ndjson(*[chunk(calls=[call("f")])] * 1_001, last()),
        "1,000 tool calls",
    ),
    "values in a line": (lines_of, b"[" + b"{}," * 1_000_000 + b"1]\n", "100,000 values"),
    "calls in a long line": (
        lines_of,
        ndjson(chunk(calls=[{"function": {"name": "f"}}] * 110_000)),
        "100,000 values",
    ),
    "comments": (events_of, b":\n" * 200_000, "100,000 lines that belong to no event"),
    "empty events": (events_of, b":\n" + b"\n" * 200_000, "100,000 lines that belong to no event"),
    "data without a blank line": (events_of, b"data: 1\n" * 20_000, "10,000 lines"),
    "bare data lines": (events_of, b"data\n" * 20_000, "10,000 lines"),
    "values in an event": (events_of, b"data: [" + b"{}," * 200_000 + b"1]\n\n", "100,000 values"),
    "values in a document": (events_of, b"[" + b"{}," * 200_000 + b"1]", "100,000 values"),
    "call deltas": (
        events_of,
        deltas({"index": at, "id": f"call_{at}"} for at in range(1_001)),
        "1,000 tool calls",
    ),
    "call deltas of one index": (
        events_of,
        deltas({"index": 0, "id": f"call_{at}"} for at in range(1_001)),
        "1,000 tool calls",
    ),
}


@pytest.mark.parametrize(("read", "body", "words"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_no_model_sends_is_refused_with_its_limit(read, body, words):
    assert f"more than {words}" in failure(read(body))


@pytest.mark.parametrize("at", [1, 3_000_000])
def test_a_line_of_the_longest_size_is_read_however_it_is_split(at):
    frame = ndjson(chunk(""))
    line = ndjson(chunk("x" * (limits.LONGEST_JSON - len(frame) + 1)))
    event = b'data: {"choices": [{"delta": {"content": ""}}]}'
    event = event.replace(b'""', b'"%b"' % (b"x" * (limits.LONGEST_JSON - len(event))))

    for reader, body in ((ChatLines(ORIGIN), line), (ChatReader(ORIGIN), event + b"\n\n")):
        chunks = [*reader.feed(body[:at]), *reader.feed(body[at:])]
        assert [type(each) for each in chunks] == [Text]


@pytest.mark.parametrize("before", [b"", b"\n" * 99_990])
def test_what_stands_before_too_much_is_not_lost(before):
    chunks = lines_of(before + ndjson(chunk("kept")) + b"\n" * 100_001)

    assert Text("kept") in chunks
    assert "empty lines" in failure(chunks)


def test_an_event_before_too_many_comments_is_not_lost():
    event = b'data: {"choices": [{"delta": {"content": "kept"}}]}\n\n'

    assert Text("kept") in events_of(event + b":\n" * 100_001)


def test_a_value_within_the_limits_is_read():
    calls = [call("f", {"a": 1})] * limits.MOST_CALLS
    chunks = lines_of(b"\n" * limits.MOST_EMPTY_LINES + ndjson(chunk(calls=calls), last()))

    assert len(chunks) == limits.MOST_CALLS + 1


WORK = {
    "empty lines": (lines_of, lambda n: b"\n" * n),
    "lines without content": (lines_of, lambda n: b'{"message":{}}\n' * n),
    "calls": (lines_of, lambda n: ndjson(*[chunk(calls=[call("f")])] * (n // 50))),
    "comments": (events_of, lambda n: b":\n" * n),
    "pieces of one call": (
        events_of,
        lambda n: deltas([{"index": 0}] * (n // 5), arguments='{"a'),
    ),
    "pieces without an index": (events_of, lambda n: deltas([{}] * (n // 5), arguments="[")),
    "pieces of the oldest call": (
        events_of,
        lambda n: deltas(
            [{"index": at, "id": f"c{at}"} for at in range(100)] + [{"id": "c0"}] * (n // 5)
        ),
    ),
    "pieces of the oldest name": (
        events_of,
        lambda n: (
            deltas([{"index": at, "id": f"c{at}"} for at in range(100)])
            + deltas([{}] * (n // 5), arguments='{"', name="g")
        ),
    ),
}


@pytest.mark.parametrize(("read", "body"), WORK.values(), ids=WORK)
def test_work_is_linear_in_the_parts_of_an_answer(read, body):
    assert is_linear(read, body(5_000), body(10_000))


def test_a_typed_answer_behind_white_space_looks_at_its_beginning_only():
    looked = []
    gate = Held(lambda begun: looked.append(len(begun)))
    for _ in range(1_000):
        gate.feed(" ")
    gate.feed("{")

    assert sum(looked) == 1
    assert gate.rest() == " " * 1_000 + "{"


def test_thinking_behind_white_space_looks_at_its_beginning_only():
    tags = ThinkTags()
    for _ in range(1_000):
        tags.feed(" ")
        assert not tags._waiting

    assert tags.feed("text") == ("", " " * 1_000 + "text")


@pytest.mark.parametrize("blank", [1, 100])
async def test_white_space_before_a_typed_answer_is_kept_out_of_it(fake_ollama, blank):
    class Weather(BaseModel):
        city: str

    fake_ollama.reply(pieces=[" "] * blank + ['{"city": "Oslo"}'])
    agent = Agent(
        "a", model=OllamaModelProvider(base_url=fake_ollama.url).get_model("m"), output_type=Weather
    )

    assert (await Runner.run(agent, "hi", run_config=QUIET)).final_output == Weather(city="Oslo")


@pytest.mark.parametrize("tag", ["<tools>", "<tool_call>"])
def test_tags_that_are_never_closed_are_looked_for_once(monkeypatch, tag):
    looked_for = []

    class Counting:
        def finditer(self, *arguments):
            looked_for.append(arguments)
            return closing.finditer(*arguments)

    closing = from_text._STRING_OR_CLOSING_TAG
    monkeypatch.setattr(from_text, "_STRING_OR_CLOSING_TAG", Counting())

    with pytest.raises(Mismatch):
        read_calls(tag * 10_000, ["f"])

    assert len(looked_for) == 1


@pytest.mark.parametrize("text", ['"' + '\\"' * 1_000, '"' * 1_001, '"' + "a\\" * 1_000])
def test_a_string_that_is_never_closed_is_read_once(text):
    for pattern in (from_text._STRING_OR_CLOSING_TAG, from_text._STRING_OR_BRACKET):
        found = list(pattern.finditer(text))
        assert "".join(each[0] for each in found) == text


def test_calls_written_as_text_have_the_same_limit():
    text = json.dumps([{"name": "f", "arguments": {}}] * 1_001)

    with pytest.raises(Mismatch, match="more than 1,000 calls"):
        read_calls(text, ["f"])


def test_a_refusal_is_searched_at_its_beginning_only():
    said = "think value " * 100_000 + " is not supported"

    assert type(status_error(400, {}, said.encode(), ORIGIN)).__name__ == "OllamaStatusError"


def test_a_refusal_of_a_hundred_thousand_values_is_a_page():
    assert parse(b'{"error": [' + b"{}," * 100_000 + b"1]}") is None
    assert parse(b'{"error": [' + b"{}," * 1_000 + b"1]}") is not None


async def test_others_run_between_the_pieces_that_have_arrived(fake_ollama):
    body = ndjson(*[chunk("x" * 1_000)] * 500, last())
    fake_ollama.fail(200, body=body)
    rounds = 0

    def count():
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    source = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")._source
    stream = source.chat(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}, {}, "m"
    )
    seen = []
    async for _ in stream:
        if not seen:
            await asyncio.sleep(0.2)  # lets the rest arrive
            count()
        seen.append(rounds)
    await stream.aclose()

    assert len(seen) > 10
    assert all(later > earlier for earlier, later in itertools.pairwise(seen[1:]))


@pytest.mark.parametrize(
    "body", [b"\n" * 1_000_000, b" " * 3_000_000, b'{"message": {"content": ""}}\n' * 100_000]
)
@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "as it is"])
async def test_an_answer_without_end_is_left(fake_ollama, body, is_packed, monkeypatch):
    monkeypatch.setattr(limits, "LONGEST", 2_000_000)
    headers = {"Content-Encoding": "gzip"} if is_packed else {}
    fake_ollama.fail(200, body=gzip.compress(body) if is_packed else body, headers=headers)
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model("m")

    with pytest.raises((OllamaStreamError, OllamaConnectionError), match="more than"):
        await Runner.run(Agent("a", model=model), "hi", run_config=QUIET)
