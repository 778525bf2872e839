"""`get_response` and `stream_response` give equal items, usage and errors for equal bytes."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from agents import AgentOutputSchema, ModelSettings, ModelTracing, function_tool
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.ollama.answers import WIRE, call, chunk, last, logprob, recordings
from timestep import OllamaModelProvider, errors
from timestep.testing import Close, ErrorLine, FakeOllama, NoDone, Split
from timestep.testing.replies import Reply

OPENING = ["response.created", "response.in_progress"]


@function_tool
def weather(city: str) -> str:
    """The weather."""
    return city


class Verdict(BaseModel):
    """A structured answer."""

    ok: bool


YES = '{"ok": true}'
PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
NAMED = ModelSettings(tool_choice="weather")
STRUCTURED = AgentOutputSchema(Verdict)


def asked(*, tools=(), output=None, model_settings=None):
    """The arguments of a model call."""
    return {
        "system_instructions": None,
        "input": "hi",
        "model_settings": model_settings or ModelSettings(),
        "tools": list(tools),
        "output_schema": output,
        "handoffs": [],
        "tracing": ModelTracing.DISABLED,
        "previous_response_id": None,
        "conversation_id": None,
        "prompt": None,
    }


class Outcome:
    """What a model call came to.

    Attributes:
        events: The events of a stream that ended by itself.
        items: The output as plain data, ids that were made up left out.
        usage: Input, output, total and cached tokens.
        error: The class of the error, or what the stream said of it.
    """

    def __init__(self, *, output=(), usage=None, error=None, events=()):
        self.events = list(events)
        self.items = [_plain(item) for item in output]
        self.usage = usage and (
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.input_tokens_details.cached_tokens,
        )
        self.error = error

    @property
    def types(self):
        return [event.type for event in self.events]

    @property
    def terminal(self):
        return self.events[-1].response


def _plain(item):
    plain = item.model_dump(exclude_unset=True)
    plain["id"] = plain["id"].partition("_")[0]
    # The server's ids have eight characters, made up ones have more.
    if len(plain.get("call_id", "")) == len("call_") + 24:
        plain["call_id"] = "call"
    return plain


async def whole(model, arguments):
    try:
        response = await model.get_response(**arguments)
    except errors.TimestepError as exc:
        return Outcome(error=exc)
    assert response.response_id is None
    return Outcome(output=response.output, usage=response.usage)


async def streamed(model, arguments):
    events = []
    try:
        async for event in model.stream_response(**arguments):
            events.append(event)  # noqa: PERF401 - those before an error count
    except errors.TimestepError as exc:
        return Outcome(error=exc, events=events)
    response = events[-1].response
    return Outcome(output=response.output, usage=response.usage, events=events)


def assert_alike(one, other):
    """*one*, whole, and *other*, streamed, came to the same."""
    numbers = [event.sequence_number for event in other.events]
    assert numbers == list(range(len(numbers)))
    if one.error is None:
        assert other.error is None
        assert (one.items, one.usage) == (other.items, other.usage)
        assert other.types[-1] == "response.completed"
        is_cut = any(item.get("status") == "incomplete" for item in one.items)
        assert bool(other.terminal.incomplete_details) is is_cut
    elif other.error is not None:
        assert type(one.error) is type(other.error)
        assert str(one.error) == str(other.error)
        assert other.types in ([], OPENING)
    else:
        assert len(other.types) > len(OPENING)
        assert_keeps(other, one.error)


def assert_keeps(outcome, error):
    """*outcome* ended with *error*, and everything that was shown is in its last event."""
    shown = [
        event.delta
        for event in outcome.events
        if event.type.endswith(("text.delta", "ments.delta"))
    ]
    kept = [item.get("arguments") or item["content"][0]["text"] for item in outcome.items]
    assert "".join(kept) == "".join(shown)
    assert outcome.types[-1] == "response.failed"
    assert outcome.terminal.error.message == str(error)


@asynccontextmanager
async def open_model(fake, **keywords):
    provider = OllamaModelProvider(base_url=fake.url, **keywords)
    try:
        yield provider.get_model("m")
    finally:
        await provider.aclose()


async def both(fake, queue, arguments, **keywords):
    """The outcomes of two calls to which *queue* queues the same answers."""
    async with open_model(fake, **keywords) as model:
        queue()
        one = await whole(model, arguments)
        queue()
        return one, await streamed(model, arguments)


CALLS = {"tools": [weather]}
ANSWERS = {
    "text": ({}, [[chunk("Hel"), chunk("lo"), last()]]),
    "thinking": ({}, [[chunk(thinking="Hm"), chunk("Hi"), chunk(thinking="…"), last()]]),
    "calls": (
        CALLS,
        [[
            chunk("I look", thinking="Hm"),
            chunk(calls=[call("weather", {"city": "Rome"}, "call_abcdefgh"), call("weather")]),
            last(calls=[call("weather", call_id="call_abcdefgh")]),
        ]],
    ),
    "logprobs": ({}, [[chunk("Hi", logprobs=[logprob("Hi", top=[logprob("Ho", -2)])]), last()]]),
    "cached tokens": ({}, [[last("Hi", prompt_eval_cached_count=20)]]),
    "cut text": ({}, [[chunk("Hel"), last(reason="length")]]),
    "empty": ({}, [[last()]]),
    "a call, cut": (CALLS, [[chunk(calls=[call("weather")]), last(reason="length")]]),
    "a call on the last line, cut": (CALLS, [[last(calls=[call("weather")], reason="length")]]),
    "blanks, with tools": (CALLS, [[chunk("\n"), last(" ")]]),
    "only loaded": ({}, [[last(reason="load")]]),
    "an end without done": ({}, [[chunk("Hi"), {**last(), "done": False}]]),
    "words before a call, structured": (
        {**CALLS, "output": STRUCTURED}, [[chunk("I look"), last(calls=[call("weather")])]],
    ),
    "no counts": ({}, [[last("Hi", prompt=0, answer=0)]]),
    "empty, with tools": (CALLS, [[last()]]),
    "only thinking, with tools": (CALLS, [[chunk(thinking="Hm"), last()]]),
    "cut thinking": ({}, [[chunk(thinking="Hm"), last(reason="length")]]),
    "cut at once": ({}, [[last(reason="length")]]),
    "an error line": ({}, [[chunk("Hel"), {"error": "CUDA error"}]]),
    "an error line at once": ({}, [[{"error": "CUDA error"}]]),
    "an unusable call": ({}, [[chunk(thinking="Hm"), {"error": "error parsing tool call: x"}]]),
    "an overflow": ({}, [[{"error": "(9 tokens) exceeds the available context size (8 tokens)"}]]),
    "no end": ({}, [[chunk("Hel"), chunk("lo")]]),
    "no end after nothing": ({}, [[chunk()]]),
    "nothing": ({}, [[]]),
    "an odd line": ({}, [[chunk("Hel"), {"message": 5}]]),
    "a named call": ({**CALLS, "model_settings": NAMED}, [[last(PARIS)]]),
    "a named call, repaired": ({**CALLS, "model_settings": NAMED}, [[last("No")], [last(PARIS)]]),
    "a named call, never": ({**CALLS, "model_settings": NAMED}, [[last("No")], [last("No")]]),
    "a named call, cut": ({**CALLS, "model_settings": NAMED}, [[last("{", reason="length")]]),
    "structured": ({"output": STRUCTURED}, [[chunk('{"ok":'), last(" true}")]]),
    "structured, fenced": ({"output": STRUCTURED}, [[last(f"```json\n{YES}\n```")]]),
    "structured, repaired": ({"output": STRUCTURED}, [[last("Yes")], [last(YES)]]),
    "structured, never": ({"output": STRUCTURED}, [[last("Yes")], [last("No")]]),
    "structured with tools": ({**CALLS, "output": STRUCTURED}, [[chunk("I"), last(calls=[call("weather")])]]),
    "structured with tools, fenced": ({**CALLS, "output": STRUCTURED}, [[last(f"```\n{YES}```")]]),
    "structured with tools, repaired": ({**CALLS, "output": STRUCTURED}, [[last("Yes")], [last(YES)]]),
    "structured, the repair breaks off": ({"output": STRUCTURED}, [[last("Yes")], [chunk("{")]]),
    "one call": (
        {**CALLS, "model_settings": ModelSettings(parallel_tool_calls=False)},
        [[last(calls=[call("weather"), call("weather")])]],
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("arguments", "replies"), ANSWERS.values(), ids=ANSWERS)
async def test_whole_and_streamed_answers_are_alike(fake_ollama, arguments, replies):
    def queue():
        for chunks in replies:
            fake_ollama.reply(chunks=chunks)

    one, other = await both(fake_ollama, queue, asked(**arguments))

    assert_alike(one, other)


# Scripted answers as they arrive, the error whole, and the last event streamed, or none.
FAILURES = {
    "an error line": ([chunk("Hel")], {"error": "CUDA error"}, errors.OllamaStreamError, "failed"),
    "no end": ([chunk("Hel")], None, errors.OllamaStreamError, "failed"),
    "thinking, then an error": (
        [chunk(thinking="Hm")], {"error": "CUDA error"}, errors.OllamaStreamError, "failed",
    ),
    "a call, then an error": (
        [chunk(calls=[call("weather")])], {"error": "x"}, errors.OllamaStreamError, "failed",
    ),
    "cut thinking": (
        [chunk(thinking="Hm")], last(reason="length"), errors.ModelOutputError, "failed",
    ),
    "an error before anything": ([], {"error": "CUDA error"}, errors.OllamaStreamError, None),
    "an error after an empty chunk": ([chunk()], {"error": "x"}, errors.OllamaStreamError, None),
    "an overflow": (
        [], {"error": "exceeds the available context size"}, errors.ContextWindowExceededError, None,
    ),
    "a cut before anything": ([chunk()], last(reason="length"), errors.ModelOutputError, None),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("shown", "end", "error", "terminal"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_raises_before_output_and_is_an_event_after_it(
    fake_ollama, shown, end, error, terminal
):
    def queue():
        fake_ollama.reply(chunks=[*shown, *([end] if end else [])])

    one, other = await both(fake_ollama, queue, asked())

    assert type(one.error) is error
    assert_alike(one, other)
    if terminal is None:
        assert type(other.error) is error
    else:
        assert other.types[-1] == f"response.{terminal}"
        assert len(other.items) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (ErrorLine("CUDA error", after=0), errors.OllamaStatusError),
        (ErrorLine("CUDA error", after=2), errors.OllamaStreamError),
        (NoDone(), errors.OllamaStreamError),
        (Close(after=0), errors.OllamaConnectionError),
        (Close(after=2), errors.OllamaConnectionError),
        (Close(after_bytes=150), errors.OllamaConnectionError),
        (Split(every=1), None),
        (Split(every=7), None),
    ],
)
async def test_faults_of_the_wire_are_alike(fake_ollama, fault, error):
    one, other = await both(
        fake_ollama,
        lambda: fake_ollama.reply("Hello my friend", thinking="Hm, who", fault=fault),
        asked(),
    )

    assert type(one.error) is (error or type(None))
    assert_alike(one, other)


@pytest.mark.parametrize(
    ("status", "words", "error"),
    [
        (404, "model 'm' not found", errors.ModelNotFoundError),
        (503, "server busy", errors.ServerBusyError),
        (400, '"m" does not support thinking', errors.CapabilityError),
    ],
)
async def test_refusals_are_alike(fake_ollama, status, words, error):
    one, other = await both(fake_ollama, lambda: fake_ollama.fail(status, words), asked())

    assert type(one.error) is error
    assert_alike(one, other)
    assert other.events == []


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk('{"answer": "H'), last('i"}')],
        [last(PARIS)],
        [last("Just text")],
        [last(PARIS[:-5], reason="length")],
    ],
)
async def test_emulated_answers_are_alike(fake_ollama, chunks):
    fake_ollama.add_model("m", capabilities=["completion"])

    one, other = await both(
        fake_ollama, lambda: fake_ollama.reply(chunks=chunks), asked(**CALLS), tool_emulation=True
    )

    assert_alike(one, other)


async def test_every_recorded_exchange_is_alike():
    async with FakeOllama(recordings=WIRE) as fake:
        for recording in recordings("/api/chat"):
            if recording.name in {"fail-client-disconnect", "http-chat-get"}:
                continue  # a silence without end, and no answer to a POST

            one, other = await both(fake, lambda name=recording.name: fake.replay(name), asked())

            assert_alike(one, other)


words = st.text(max_size=4)
arguments = st.dictionaries(words, words | st.integers(-9, 9), max_size=2)
server_ids = st.none() | st.sampled_from(["call_aaaaaaaa", "call_bbbbbbbb"])
calls = st.lists(st.builds(call, st.just("weather"), arguments, server_ids), min_size=1, max_size=2)
pieces = st.builds(
    lambda text, thought, found: chunk(text, thinking=thought or None, calls=found),
    words,
    words,
    st.none() | calls,
)
ends = st.one_of(
    st.builds(last, words, reason=st.sampled_from(["stop", "length"]), thinking=words),
    st.builds(lambda found: last(calls=found), calls),
    st.just({"error": "CUDA error"}),
    st.just({"error": "error parsing tool call: x"}),
    st.none(),
)


def test_any_scripted_answer_is_alike_however_it_is_split():
    with FakeOllama() as fake:

        @settings(max_examples=40)
        @given(
            st.lists(pieces, max_size=5), ends, st.integers(40, 400), st.sampled_from([{}, CALLS])
        )
        def check(chunks, end, size, arguments):
            script = [*chunks, *([] if end is None else [end])]
            answer = Reply(chunks=script, faults=(Split(every=size),))

            one, other = asyncio.run(both(fake, lambda: fake.reply(answer), asked(**arguments)))

            assert_alike(one, other)

        check()
