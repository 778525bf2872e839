"""The decoder: what each line adds, what it refuses, and what no bytes can do to it."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ollama.answers import (
    ORIGIN,
    answer,
    call,
    chunk,
    decode,
    finished,
    last,
    logprob,
    ndjson,
    new_reply,
    request,
    rules,
)
from timestep import errors
from timestep.answer.chunks import Call, End, Text, Usage
from timestep.answer.ids import Ids
from timestep.answer.reply import Reply
from timestep.answer.rules import Reading
from timestep.net.lines import LineSplitter


@pytest.mark.parametrize(
    "body",
    [
        b"\n\n" + ndjson(chunk("Hi"), b"\n", b"  \t\n", last()) + b"\n",
        ndjson(chunk("Hi"), last()).replace(b"\n", b"\r\n"),
        ndjson(chunk("Hi"), b"\r\n", last()),
        ndjson(chunk("Hi"), last()).rstrip(b"\n"),
        ndjson(chunk("Hi"), last(), b"nothing behind the last line counts\n"),
        ndjson(chunk("Hi"), last(), chunk(" you"), last(), b'{"error":"late"}\n'),
        ndjson(chunk("Hi"), last(), b"5"),
    ],
)
def test_lines_are_read_as_the_server_means_them(body):
    assert decode(body).text == "Hi"
    assert decode([body[i : i + 1] for i in range(len(body))]).text == "Hi"


@pytest.mark.parametrize("text", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_only_a_newline_ends_a_line(text):
    assert answer(chunk(f"a{text}b"), last()).text == f"a{text}b"


@given(st.lists(st.binary(max_size=5)))
def test_lines_do_not_depend_on_pieces(pieces):
    splitter = LineSplitter()

    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()

    expected = b"".join(pieces).split(b"\n")
    assert lines == (expected if expected[-1] else expected[:-1])
    assert splitter.flush() == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"<html>502</html>", "'<html>502</html>', which is not JSON,"),
        (b": ping", "': ping', which is not JSON,"),
        (b'{"message":', "which is not JSON"),
        (b'{"message":{"content":"\\ud800"},"done":false}', "which is not JSON"),
        (b"\xff\xfe", "which is not JSON"),
        (b"\xef\xbb\xbf{}", "which is not JSON"),
        (b"[" * 10_000 + b"]" * 10_000, "which is not JSON"),
        (b"null", "NoneType instead of an object"),
        (b"5", "int instead of an object"),
        (b"[]", "list instead of an object"),
        (b'"text"', "str instead of an object"),
        (b'{"message":5}', "a message that is not an object"),
        (b'{"message":[],"done":true}', "a message that is not an object"),
        (b'{"message":{"content":5}}', "content that is not text"),
        (b'{"message":{"content":["a"]}}', "content that is not text"),
        (b'{"message":{"thinking":{"a":1}}}', "thinking that is not text"),
        (b'{"message":{"tool_calls":{"a":1}}}', "tool_calls that are not a list"),
        (b'{"message":{"tool_calls":"f"}}', "tool_calls that are not a list"),
        (b'{"message":{"tool_calls":[5]}}', "a tool call without a function"),
        (
            b'{"message":{"tool_calls":[{"function":{"name":"f","args":{"a":1}}}]}}',
            "a tool call whose arguments are under another key",
        ),
        (b'{"message":{"tool_calls":[{"function":"f"}]}}', "a tool call without a function"),
        (b'{"message":{"content":"a"},"logprobs":5}', "logprobs that are not a list of tokens"),
        (b'{"message":{"content":"a"},"logprobs":[5]}', "logprobs that are not a list of tokens"),
        (b"{}", "broke off its answer: {}"),
        (b'{"message":null}', 'broke off its answer: {"message": null}'),
        (b'{"done":false}', 'broke off its answer: {"done": false}'),
        (b'{"status":"success"}', 'broke off its answer: {"status": "success"}'),
        (b'{"error":"CUDA error"}', "broke off its answer: CUDA error"),
        (b'{"error":"x","message":{"content":"a"},"done":true}', "broke off its answer: x"),
        (b'{"error":"x","done":true}', "broke off its answer: x"),
    ],
    ids=lambda value: repr(value[:60]),
)
def test_a_line_that_is_no_chunk_is_refused(line, said):
    with pytest.raises(errors.OllamaStreamError, match=re.escape(said)) as raised:
        decode(line + b"\n")

    assert raised.value.host == "http://localhost:11434"
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "function", [{}, {"name": None, "arguments": {}}, {"name": 5}, {"name": ["f"]}]
)
def test_a_call_without_a_name_is_a_model_s_mistake(function):
    with pytest.raises(errors.ModelOutputError, match="without naming it"):
        answer(chunk(calls=[{"function": function}]), last())


def test_parameters_is_a_spelling_of_arguments():
    call = {"function": {"name": "f", "parameters": {"a": 1}}}
    [item] = answer(chunk(calls=[call]), last()).output

    assert (item.name, json.loads(item.arguments)) == ("f", {"a": 1})


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
def test_arguments_that_json_cannot_say_are_a_model_s_mistake(number):
    sent = ndjson(chunk(calls=[call("f", {"a": "HERE"})]), last())

    with pytest.raises(errors.ModelOutputError, match="'f' with arguments that are not JSON"):
        decode(sent.replace(b'"HERE"', number.encode()))


def test_an_object_that_no_json_holds_is_a_model_s_mistake():
    with pytest.raises(errors.ModelOutputError, match="arguments that are not JSON"):
        new_reply().feed_parsed(chunk(calls=[call("f", {"a": object()})]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        ndjson(chunk("Hi")),
        ndjson(chunk("Hi"), chunk(done=None)),
        ndjson(chunk("Hi", done="true")),
        ndjson(chunk("Hi", done=1)),
    ],
)
def test_an_answer_without_its_last_line_broke_off(body):
    with pytest.raises(errors.OllamaStreamError, match="ended without its last line"):
        decode(body)


def test_an_error_that_is_null_is_none():
    assert answer(chunk("Hi", error=None), last(error=None)).text == "Hi"


def test_the_last_line_needs_no_message():
    decoded = answer(chunk("Hi"), b'{"done":true,"eval_count":3}\n')

    assert (decoded.text, decoded.response.usage.output_tokens) == ("Hi", 3)
    assert answer(b'{"done":true,"message":null}\n').types[:2] == [
        "response.created",
        "response.in_progress",
    ]


def test_the_last_of_two_equal_keys_counts():
    body = b'{"message":{"content":"a","content":"b"},"done":false,"done":true}\n'

    assert decode(body).text == "b"


def test_empty_fields_open_nothing():
    reply = new_reply()
    reply.feed(ndjson(chunk("", thinking="", calls=[], logprobs=[])))

    assert not reply.has_output
    assert [event.type for event in reply.take_events()] == [
        "response.created",
        "response.in_progress",
    ]


def test_null_fields_are_absent():
    assert answer(chunk(None), last(None, thinking=None, calls=None)).text == ""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("call_o2vnpxrw", True),
        ("call_" + "a-Z_9" * 11, True),
        ("call_" + "x" * 60, False),
        ("call_", False),
        ("call_a b", False),
        ("call_a\n", False),
        ("toolu_1", False),
        ("YLA8MisswLwTummMQ3rNou5LUBZYLUqc", False),
        ("", False),
        (None, False),
        (5, False),
        (["call_1"], False),
    ],
)
def test_a_valid_call_id_is_kept(sent, kept):
    (item,) = answer(chunk(calls=[{"id": sent, **call("f")}]), last()).output

    assert (item.call_id == sent) is kept
    assert item.call_id.startswith("call_")


def test_a_call_id_of_the_history_or_of_an_earlier_call_is_replaced():
    decoded = answer(
        chunk(calls=[call("f", call_id="call_old"), call("f", call_id="call_a")]),
        chunk(calls=[call("f", call_id="call_a"), call("f", call_id="call_b")]),
        last(),
        asked=request(call_ids=frozenset({"call_old"})),
    )

    call_ids = [item.call_id for item in decoded.output]
    assert len({*call_ids, "call_old"}) == 5
    assert (call_ids[1], call_ids[3]) == ("call_a", "call_b")


def test_new_call_ids_never_repeat():
    used = set()

    assert len({Ids().claim(None, used) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"b": 1, "a": "é"}, '{"b": 1, "a": "é"}'),
        ({}, "{}"),
        (None, "{}"),
        ("", "{}"),
        (" null\n", "{}"),
        ("nul", "nul"),
        ('{"a":1}', '{"a":1}'),
        ("{bad", "{bad"),
        ([1], "[1]"),
        ({"n": 9007199254740993, "x": 1.0}, '{"n": 9007199254740993, "x": 1.0}'),
    ],
)
def test_arguments_become_json_text(arguments, text):
    (item,) = answer(
        chunk(calls=[{"function": {"name": "f", "arguments": arguments}}]), last()
    ).output

    assert item.arguments == text


def test_an_integer_as_long_as_python_prints_is_kept():
    digits = b"9" * 4300
    sent = ndjson(chunk(calls=[call("f", {"n": "HERE"})]), last()).replace(b'"HERE"', digits)

    assert decode(sent).output[0].arguments == f'{{"n": {digits.decode()}}}'


def test_one_call_is_all_that_counts_without_parallel_calls():
    decoded = answer(
        chunk("Both"),
        chunk(calls=[call("f"), call("g")]),
        last(calls=[call("h")]),
        asked=request(one_call=True),
    )

    assert decoded.calls == [("f", {})]
    assert decoded.reply.dropped_calls == 2


def test_a_nameless_call_with_a_name_of_no_letters_is_kept_as_it_is():
    assert answer(chunk(calls=[call("")]), last()).calls == [("", {})]


def test_held_text_is_shown_when_it_is_found_right():
    reply = new_reply(request(Reading.HELD))
    reply.feed(
        ndjson(
            chunk(thinking="Hm"), chunk('{"a"', logprobs=[logprob('{"a"')]), chunk(": 1}"), last()
        )
    )

    assert reply.text.held == '{"a": 1}'
    assert not reply.items.has_message
    reply.add_text(reply.text.held)
    reply.finish()

    assert [item.type for item in reply.output] == ["reasoning", "message"]
    (part,) = reply.output[1].content
    assert part.text == '{"a": 1}'
    assert [entry.token for entry in part.logprobs] == ['{"a"']


def test_calls_wait_when_a_call_is_required():
    reply = new_reply(request(Reading.HELD, must_call=True))
    reply.feed(ndjson(chunk("words", calls=[call("f", {"a": 1}, "call_1")]), last()))

    assert reply.held_calls == [("words", Call("f", {"a": 1}, "call_1"))]
    assert not reply.has_output


@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_emulated_answer_streams_out_of_its_json(size):
    text = '{"answer": "Caf\\u00e9 \\ud83d\\ude00"}'
    pieces = [text[i : i + size] for i in range(0, len(text), size)]

    decoded = answer(*map(chunk, pieces), last(), asked=request(Reading.EMULATED))

    assert decoded.text == "Café 😀"
    assert decoded.reply.text.held == ""


def test_an_emulated_call_is_held():
    reply = new_reply(request(Reading.EMULATED))
    reply.feed(ndjson(chunk('{"name": "f", '), chunk('"arguments": {}}'), last()))

    assert reply.text.held == '{"name": "f", "arguments": {}}'
    assert not reply.has_output


def test_a_repair_adds_a_message_to_the_one_that_was_shown():
    reply = new_reply()
    costs = {"prompt_eval_cached_count": 4, "total_duration": 5}
    reply.feed(
        ndjson(
            chunk("which is not JSON", logprobs=[logprob("no")]), last(prompt=10, answer=2, **costs)
        )
    )
    reply.restart(request(Reading.HELD, is_repair=True))
    reply.feed(ndjson(chunk("{}"), last(prompt=20, answer=3, **costs)))
    reply.add_text(reply.text.held)
    response = finished(reply)[-1].response

    assert [item.content[0].text for item in response.output] == ["which is not JSON", "{}"]
    assert len({item.id for item in response.output}) == 2
    assert reply.items.last_text == "{}"
    assert response.usage.total_tokens == 35
    assert reply.usage.requests == 2
    assert reply.usage.cached_tokens == 8
    assert reply.usage.figures["total_duration"] == 10


def test_thinking_of_a_repair_is_an_item_of_its_own():
    reply = new_reply(request(Reading.HELD))
    reply.feed(ndjson(chunk("no", thinking="a"), last()))
    reply.restart(request(Reading.HELD, is_repair=True))
    reply.feed(ndjson(chunk("yes", thinking="b"), last()))

    reply.add_text(reply.text.held)
    reply.finish()

    assert [item.content[0].text for item in reply.output] == ["a", "b", "yes"]


def test_logprobs_of_a_text_that_was_never_shown_are_forgotten():
    reply = new_reply(request(Reading.HELD))
    reply.feed(ndjson(chunk("bad", logprobs=[logprob("bad")]), last()))
    reply.restart(request(Reading.HELD))
    reply.feed(ndjson(chunk("good", logprobs=[logprob("good")]), last()))
    reply.add_text(reply.text.held)

    reply.finish()

    assert [entry.token for entry in reply.output[0].content[0].logprobs] == ["good"]


def test_the_newest_text_is_the_last_message_s():
    reply = new_reply()
    assert reply.items.last_text == ""
    reply.feed(ndjson(chunk("a"), chunk(thinking="b")))
    assert reply.items.last_text == "a"
    reply.feed(ndjson(chunk("c"), chunk("d")))
    assert reply.items.last_text == "cd"
    reply.feed(ndjson(chunk(calls=[call("f")])))
    assert reply.items.last_text == "cd"


def test_counts_and_durations_are_the_last_line_s():
    decoded = answer(
        chunk("Hi", prompt_eval_count=99),
        last(
            prompt=26,
            answer=7,
            total_duration=10,
            load_duration=0,
            prompt_eval_duration=-3,
            eval_duration="4",
            prompt_eval_cached_count=20,
        ),
    )

    assert decoded.reply.usage.figures == {
        "prompt_eval_count": 26,
        "eval_count": 7,
        "total_duration": 10,
    }
    assert decoded.reply.usage.cached_tokens == 20


@pytest.mark.parametrize("count", [None, 0, -1, True, 1.5, "7", [7], {}])
def test_a_count_that_is_none_is_zero(count):
    usage = answer(last(prompt=count, answer=count, prompt_eval_cached_count=count)).response.usage

    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (0, 0, 0)
    assert usage.input_tokens_details.cached_tokens == 0


def test_all_durations_of_the_server_are_kept():
    durations = {
        "total_duration": 1,
        "load_duration": 2,
        "prompt_eval_duration": 3,
        "eval_duration": 4,
    }

    assert answer(last(**durations)).reply.usage.figures.items() > durations.items()


@pytest.mark.parametrize("raw", [True, False])
def test_the_server_s_durations_are_kept_on_demand(raw):
    reply = new_reply()
    reply.feed(ndjson(last(total_duration=10)))

    reply.finish(raw_usage=raw)
    usage = reply.take_events()[-1].response.usage

    assert ("total_duration" in usage.model_extra) is raw


@pytest.mark.parametrize("reason", ["stop", "strange", None, 5])
def test_every_reason_but_length_completes(reason):
    decoded = answer(chunk(thinking="Hm"), last("Hi", reason=reason))

    assert decoded.response.status == "completed"
    assert decoded.response.incomplete_details is None
    assert [item.status for item in decoded.output] == [None, "completed"]
    assert decoded.reply.done_reason == (reason if isinstance(reason, str) else None)


@pytest.mark.parametrize(
    ("chunks", "statuses"),
    [
        ([last("Hi", reason="length")], ["incomplete"]),
        ([chunk("Hi"), last(thinking="Hm", reason="length")], ["incomplete", "incomplete"]),
        ([chunk(thinking="Hm"), last("Hi", reason="length")], [None, "incomplete"]),
        (
            [chunk("Hi"), chunk(thinking="Hm"), chunk("a"), last(thinking="Hm", reason="length")],
            ["completed", None, "incomplete", "incomplete"],
        ),
        ([chunk("Hi"), last(thinking="Hm")], ["completed", None]),
    ],
)
def test_the_last_message_of_a_cut_answer_has_the_mark(chunks, statuses):
    decoded = answer(*chunks)

    assert [item.status for item in decoded.output] == statuses
    for item in decoded.output:
        cut_by = item.provider_data.get("finish_reason")
        assert (cut_by == "length") is (item.status == "incomplete")


def test_a_failure_keeps_what_was_shown():
    reply = new_reply()
    reply.feed(ndjson(chunk(thinking="Hm"), chunk("Hel"), chunk("lo", logprobs=[logprob("lo")])))

    reply.fail("the server broke off")

    event = reply.take_events()[-1]
    assert event.type == "response.failed"
    assert event.response.status == "failed"
    assert event.response.output[1].content[0].text == "Hello"
    assert event.response.output[1].status == "incomplete"
    assert event.response.usage is None
    assert event.response.incomplete_details is None
    assert event.response.error.message == "the server broke off"


@pytest.mark.parametrize("reason", ["load", "unload"])
@pytest.mark.parametrize("text", ["", "Hi"])
def test_a_request_that_only_loads_the_model_is_no_answer(reason, text):
    with pytest.raises(errors.OllamaStreamError, match=f"only {reason}ed 'm'"):
        answer(last(text, reason=reason))


@pytest.mark.parametrize("done", [False, None])
@pytest.mark.parametrize("count", ["eval_count", "prompt_eval_count"])
def test_a_reason_with_counts_is_an_end(done, count):
    end = {"message": {"content": "!"}, "done": done, "done_reason": "stop", count: 3}

    decoded = answer(chunk("Hi"), {key: value for key, value in end.items() if value is not None})

    assert decoded.text == "Hi!"
    assert decoded.response.usage.total_tokens == 3


def test_held_blanks_before_a_call_are_no_message():
    reply = new_reply(request(Reading.HELD, tools=("f",)))
    reply.feed(ndjson(chunk("\n"), chunk(calls=[call("f")]), last()))

    assert [item.type for item in reply.output] == ["function_call"]


def test_counts_without_a_reason_are_no_end():
    with pytest.raises(errors.OllamaStreamError, match="ended without its last line"):
        answer(chunk("Hi", done_reason="", eval_count=3))


def test_a_reason_without_counts_is_no_end():
    with pytest.raises(errors.OllamaStreamError, match="ended without its last line"):
        answer(chunk("Hi", done_reason="stop"))


def test_an_empty_error_is_no_failure():
    assert answer(chunk("Hi", error=""), last(error="")).text == "Hi"


@pytest.mark.parametrize(
    "name", ["f<|channel|>commentary", "f<|constrain|>json", "functions.f", " f", "f"]
)
def test_a_call_s_name_means_the_declared_tool(name):
    decoded = answer(chunk(calls=[call(name)]), last(), asked=request(tools=("f", "g")))

    assert decoded.calls == [("f", {})]


def test_a_call_s_name_that_may_mean_two_tools_is_a_model_s_mistake():
    asked = request(tools=("f", "functions.f"))

    with pytest.raises(errors.ModelOutputError, match=r"may mean f or functions\.f"):
        answer(chunk(calls=[call("functions.f<|channel|>commentary")]), last(), asked=asked)


def test_held_words_before_a_call_stay_before_it():
    reply = new_reply(request(Reading.HELD, tools=("f",)))
    reply.feed(ndjson(chunk("I look"), chunk(calls=[call("f")]), chunk("done"), last()))

    assert [item.type for item in reply.output] == ["message", "function_call"]
    assert reply.text.held == "done"


def test_thinking_in_tags_is_thinking():
    asked = request(think_tags=True)

    decoded = answer(chunk("<think>H"), chunk("m</thi"), chunk("nk>\n\nHi"), last(), asked=asked)

    assert (decoded.thinking, decoded.text) == ("Hm", "Hi")


def test_thinking_in_tags_that_never_ends_is_thinking():
    decoded = answer(chunk("<think>H"), last("m</th"), asked=request(think_tags=True))

    assert (decoded.thinking, decoded.text) == ("Hm</th", "")


@pytest.mark.parametrize(
    ("text", "is_shown"),
    [("Hi", True), (" H", True), ("<b", True), ("{", False), ("`", False), ("<tool_ca", False)],
)
def test_a_text_that_may_be_calls_waits(text, is_shown):
    reply = new_reply(request(tools=("f",), text_calls=True))
    reply.feed(ndjson(chunk(text)))

    assert reply.has_output is is_shown


def test_a_failure_after_the_last_line_keeps_its_counts():
    reply = new_reply()
    reply.feed(ndjson(chunk(calls=[call("f")]), last(prompt=3, answer=4)))

    reply.fail("not usable")

    response = reply.take_events()[-1].response
    assert response.usage.total_tokens == 7
    assert [item.type for item in response.output] == ["function_call"]


words = st.text(max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
odd_calls = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "id": json_values,
            "function": st.fixed_dictionaries(
                {}, optional={"name": words | json_values, "arguments": json_values}
            ) | json_values,
        },
    ),
    max_size=2,
)  # a table reads better in rows # fmt: skip
odd_chunks = st.fixed_dictionaries(
    {},
    optional={
        "message": st.fixed_dictionaries(
            {},
            optional={
                "content": words | json_values,
                "thinking": words | json_values,
                "tool_calls": odd_calls | json_values,
                "role": json_values,
            },
        ) | json_values,
        "done": st.booleans() | json_values,
        "done_reason": st.sampled_from(["stop", "length"]) | json_values,
        "logprobs": json_values,
        "error": json_values,
        "eval_count": json_values,
        "total_duration": json_values,
    },
)  # a table reads better in rows # fmt: skip
readings = st.builds(
    request,
    st.sampled_from(Reading),
    must_call=st.booleans(),
    one_call=st.booleans(),
)


def assert_only_our_errors(pieces, asked):
    reply = new_reply(asked)
    try:
        for piece in pieces:
            reply.feed(piece)
        reply.end_of_body()
    except errors.OllamaError:
        reply.fail("broken")
    else:
        reply.finish()
    events = reply.take_events()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert all(event.model_dump_json() for event in events)


@given(st.lists(st.binary(max_size=30) | st.just(b"\n"), max_size=8), readings)
def test_no_bytes_raise_anything_but_our_errors(pieces, asked):
    assert_only_our_errors(pieces, asked)


@settings(max_examples=300)
@given(st.lists(odd_chunks, max_size=4), readings)
def test_no_json_raises_anything_but_our_errors(chunks, asked):
    lines = [json.dumps(line).encode() + b"\n" for line in chunks]

    assert_only_our_errors(lines, asked)


@given(st.lists(odd_chunks, max_size=3), st.data())
def test_odd_lines_are_refused_alike_however_they_are_split(chunks, data):
    body = b"".join(json.dumps(line).encode() + b"\n" for line in chunks)
    places = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)))
    edges = [0, *places, len(body)]

    def outcome(pieces):
        reply = new_reply()
        try:
            for piece in pieces:
                reply.feed(piece)
            reply.end_of_body()
        except errors.OllamaError as exc:
            return type(exc), str(exc), reply.take_events()
        return reply.take_events()

    pieces = [body[a:b] for a, b in pairwise(edges)]
    assert outcome(pieces) == outcome([body])


def test_a_line_of_five_megabytes_is_one_delta():
    text = "x" * 5_000_000
    body = ndjson(last(text))

    decoded = decode([body[i : i + 65_536] for i in range(0, len(body), 65_536)])

    assert decoded.text == text


def test_a_line_in_a_million_pieces_is_joined_once():
    # What takes quadratic time here would take minutes.
    body = ndjson(last("x" * 1_000_000))

    assert len(decode(body[i : i + 1] for i in range(len(body))).text) == 1_000_000


def test_a_text_in_many_deltas_is_joined_once():
    line = ndjson(chunk("x"))
    reply = new_reply()
    for _ in range(100_000):
        reply.feed(line)
        reply.take_events()
    reply.feed(ndjson(last()))

    reply.finish()

    assert len(reply.items.last_text) == 100_000


def test_the_library_s_own_ids_have_openai_s_prefixes():
    reply = Reply(rules(), model="m", created_at=1, ids=Ids(), origin=ORIGIN)
    reply.feed([Text("Hi"), Call("f"), End("stop", Usage())])
    response = finished(reply)[-1].response

    message, function_call = response.output
    assert re.fullmatch(r"resp_\w{24}", response.id)
    assert re.fullmatch(r"msg_\w{24}", message.id)
    assert re.fullmatch(r"fc_\w{24}", function_call.id)
    assert re.fullmatch(r"call_\w{24}", function_call.call_id)
