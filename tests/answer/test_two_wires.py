"""Equal answers on Ollama's wire and on OpenAI's give equal events, items, usage and errors."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ollama import answers as ollama
from tests.ollama import test_events, test_parity
from tests.ollama.answers import call, chunk, last, ndjson
from tests.ollama.test_parity import CALLS, NAMED, STRUCTURED, asked, streamed, whole
from tests.openai import decoding as openai
from timestep import OllamaModelProvider
from timestep.errors.meaning import meaning_of
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.model import ChatCompletionsModel
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.wire import ChatWire
from timestep.testing import Close, ErrorLine, FakeOllama, NoDone, Reset, Split
from timestep.testing.openai.replies import completion


def told(events):
    """*events* as plain data, without what only names the server."""
    return [event.model_dump(exclude_unset=True) for event in events]


def ollama_events(lines, asked=None):
    return told(ollama.decode(ndjson(*lines), asked and ollama.request(asked)).events)


def chat_events(lines, asked=None):
    events, _ = openai.decode(openai.sse(openai.as_chat(lines)), asked)
    return told(events)


# A call on OpenAI's wire is whole only when the answer ends, so it is shown behind the text.
CALLS_LAST = {
    name: lines
    for name, lines in test_events.ANSWERS.items()
    if name not in {"a call before text", "calls around thinking", "logprobs of thinking and of a call"}
}  # fmt: skip


@pytest.mark.parametrize("lines", CALLS_LAST.values(), ids=CALLS_LAST)
def test_the_golden_answers_have_the_same_events_on_both_wires(lines):
    assert chat_events(lines) == ollama_events(lines)


def test_what_follows_a_call_stands_before_it_on_one_wire_and_behind_it_on_the_other():
    lines = [chunk(calls=[call("f")]), chunk(thinking="Hm"), chunk("done"), last()]
    kinds = [
        [event["item"]["type"] for event in events if event["type"].endswith("item.done")]
        for events in (ollama_events(lines), chat_events(lines))
    ]
    assert kinds == [
        ["function_call", "reasoning", "message"],
        ["reasoning", "function_call", "message"],
    ]


words = st.text(max_size=4)
spoken = st.lists(
    st.builds(chunk, words) | st.builds(lambda text: chunk(thinking=text), words), max_size=6
)
arguments = st.dictionaries(words, words | st.integers(-9, 9), max_size=2)
called = st.lists(
    st.builds(call, st.just("f"), arguments, st.none() | st.sampled_from(["call_a", "call_b"])),
    max_size=3,
)
script = st.builds(
    lambda said, calls, reason: [
        *said, *([chunk(calls=calls)] if calls else []), last(reason=reason)
    ],
    spoken,
    called,
    st.sampled_from(["stop", "length"]),
)  # fmt: skip


@given(script)
def test_any_answer_has_the_same_events_on_both_wires(lines):
    assert chat_events(lines) == ollama_events(lines)


def document(lines):
    """The whole answer that a server of chat completions makes of *lines*."""
    return json.dumps(completion(openai.as_chat(lines))).encode()


def items(response):
    return json.loads(
        re.sub(
            r'"(msg|fc)_\d+"|"call_new\d+"',
            '"made up"',
            response.model_dump_json(include={"output"}),
        )
    )


@given(script, st.lists(st.integers(0, 2000), max_size=6))
def test_streamed_equals_whole_for_every_split_of_the_bytes(lines, cuts):
    body = openai.sse(openai.as_chat(lines))
    at = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[a:b] for a, b in itertools.pairwise(at)]

    events, split = openai.decode(pieces)
    assert told(events) == chat_events(lines)
    _, answered_whole = openai.decode(document(lines))
    assert answered_whole.usage == split.usage
    # A whole answer does not say in what order thinking and words came.
    if len(kinds := [item.type for item in split.output]) == len(set(kinds)) and kinds[:2] != [
        "message",
        "reasoning",
    ]:
        assert items(answered_whole) == items(split)


class Two:
    """One model on each wire, with a server of its own."""

    def __init__(self, fake_ollama, fake_openai):
        self.servers = fake_ollama, fake_openai
        self.wire = ChatWire(OpenAIEndpoint(base_url=fake_openai.base_url))
        self.provider = OllamaModelProvider(base_url=fake_ollama.url)
        self.models = (
            self.provider.get_model("m"),
            ChatCompletionsModel("m", self.wire, ChatModelOptions(max_retries=0)),
        )

    async def outcomes(self, queue, arguments):
        """What both models make of what *queue* queues, whole and streamed."""
        found = []
        for server, model in zip(self.servers, self.models, strict=True):
            for how in (whole, streamed):
                queue(server)
                found.append(await how(model, arguments))
                server.verify()
        return found

    async def aclose(self):
        await self.wire.aclose()
        await self.provider.aclose()


@pytest.fixture
async def two(fake_ollama, fake_openai):
    both = Two(fake_ollama, fake_openai)
    yield both
    await both.aclose()


def reason(server, word):
    """The keyword by which *server* ends an answer with *word*."""
    return {"done_reason" if isinstance(server, FakeOllama) else "finish_reason": word}


def comparable(outcome):
    """An outcome without what a wire alone has: its own fields, and the words of its errors.

    An error means the same when the same party is at fault, when another try may help, and when
    another model may.
    """
    for item in outcome.items:
        item.pop("provider_data", None)
        item.pop("call_id", None)
        if item["type"] == "function_call":
            item["arguments"] = json.loads(item["arguments"])
    means = outcome.error and meaning_of(outcome.error)
    return {
        "types": outcome.types,
        "items": outcome.items,
        "usage": outcome.usage,
        "error": means and (means.fault, means.passes, means.reason is not None),
    }


def assert_equal(outcomes):
    ollama_whole, ollama_streamed, chat_whole, chat_streamed = map(comparable, outcomes)
    assert chat_whole == ollama_whole
    assert chat_streamed == ollama_streamed


SAID = {
    "text": ({}, {"text": "Hello you"}, None),
    "thinking": ({}, {"text": "Hi", "thinking": "Hm, who"}, None),
    "logprobs": ({}, {"text": "a b", "logprobs": [ollama.logprob("a"), ollama.logprob(" b")]}, None),
    "a call": (CALLS, {"tool_calls": [("weather", {"city": "Rome"})]}, None),
    "two calls behind words": (
        CALLS,
        {"text": "I look", "thinking": "Hm", "tool_calls": [("weather", {"city": "Rome"}), ("weather", {"city": "Paris"})]},
        None,
    ),
    "cut text": ({}, {"text": "Hel"}, "length"),
    "cut at once": ({}, {"text": ""}, "length"),
    "cut thinking": ({}, {"thinking": "Hm"}, "length"),
    "a cut call": (CALLS, {"tool_calls": [("weather", {})]}, "length"),
    "empty": ({}, {"text": ""}, None),
    "empty, with tools": (CALLS, {"text": ""}, None),
    "blanks, with tools": (CALLS, {"text": " \n"}, None),
    "structured": ({"output": STRUCTURED}, {"text": '{"ok": true}'}, None),
    "structured, cut": ({"output": STRUCTURED}, {"text": '{"ok": tr'}, "length"),
    "a required call, written": ({**CALLS, "model_settings": NAMED}, {"text": test_parity.PARIS}, None),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "said", "why"), SAID.values(), ids=SAID)
async def test_servers_that_say_the_same_are_understood_alike(two, arguments, said, why):
    def queue(server):
        ends = {} if why is None else reason(server, why)
        server.reply(said.get("text", ""), **{k: v for k, v in said.items() if k != "text"}, **ends)

    assert_equal(await two.outcomes(queue, asked(**arguments)))


async def test_a_typed_answer_beside_tools_is_held_by_one_wire_and_live_on_the_other(two):
    # Ollama takes no schema beside tools, so its answer is shown when it is found right.
    outcomes = await two.outcomes(
        lambda server: server.reply('{"ok": true}'), asked(**CALLS, output=STRUCTURED)
    )

    deltas = [outcome.types.count("response.output_text.delta") for outcome in outcomes]
    assert deltas[1] == 1 < deltas[3]
    assert len({json.dumps(comparable(outcome)["items"]) for outcome in outcomes}) == 1


REPAIRED = {
    "a typed answer": ({"output": STRUCTURED}, ["Yes", '{"ok": true}']),
    "a typed answer, never": ({"output": STRUCTURED}, ["Yes", "No"]),
    "a required call": ({**CALLS, "model_settings": NAMED}, ["No", test_parity.PARIS]),
    "a required call, never": ({**CALLS, "model_settings": NAMED}, ["No", "No"]),
}


@pytest.mark.parametrize(("arguments", "texts"), REPAIRED.values(), ids=REPAIRED)
async def test_what_is_wrong_is_asked_for_again_alike(two, arguments, texts):
    def queue(server):
        for text in texts:
            server.reply(text)

    assert_equal(await two.outcomes(queue, asked(**arguments)))


@pytest.mark.parametrize(
    "fault",
    [
        ErrorLine("CUDA error", after=0),
        ErrorLine("CUDA error", after=2),
        NoDone(),
        Close(after=0),
        Close(after=2),
        Reset(after=1),
        Split(every=1),
        Split(every=7),
    ],
    ids=repr,
)
async def test_faults_mean_the_same(two, fault):
    def queue(server):
        server.reply("Hello my friend", thinking="Hm, who", fault=fault)

    assert_equal(await two.outcomes(queue, asked()))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "no"),
        (401, "unauthorized"),
        (404, "model 'm' not found"),
        (429, "slow down"),
        (500, "oops"),
        (503, "server busy"),
        (400, "the prompt is too long: 9 tokens exceed the available context size of 8 tokens"),
    ],
)
async def test_refusals_mean_the_same(two, status, words):
    outcomes = await two.outcomes(lambda server: server.fail(status, words), asked())

    assert_equal(outcomes)
    assert all(outcome.error is not None for outcome in outcomes)


# Ollama says these things, and a server of chat completions cannot.
OLLAMAS_OWN = {
    "only loaded",
    "an end without done",
    "an unusable call",
    "an overflow",
    "an odd line",
}
SCRIPTS = {name: case for name, case in test_parity.ANSWERS.items() if name not in OLLAMAS_OWN}


@pytest.mark.parametrize(("arguments", "replies"), SCRIPTS.values(), ids=SCRIPTS)
async def test_the_scripts_of_ollama_mean_the_same_on_both_wires(two, arguments, replies):
    def queue(server):
        for lines in replies:
            if server is two.servers[0]:
                server.reply(chunks=lines)
            else:
                is_whole = bool(lines) and lines[-1].get("done", False)
                server.reply(chunks=openai.as_chat(lines), done=is_whole)

    assert_equal(await two.outcomes(queue, asked(**arguments)))
