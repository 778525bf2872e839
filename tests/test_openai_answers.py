"""What a server that speaks OpenAI's API may answer, and what becomes of it, through the real Runner."""

import asyncio
import gzip
import json
import traceback

import httpx2
import openai
import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    ModelSettings,
    RunConfig,
    add_trace_processor,
    function_tool,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.spans import Spans
from tests.test_leaks import WIRES, page, server
from tests.test_leaks import ask as ask_model
from timestep import (
    BrokenAnswerError,
    FallbackRules,
    ModelOutputError,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModelProvider,
)
from timestep.openai.checked_client import CheckedClient
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider

APIS = pytest.mark.parametrize("use_responses", [False, True], ids=["chat", "responses"])
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": []}
RESPONSE |= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}
KEY, HEADER, QUERY = "violet-otter/lamp", "quiet-sand", "q-0123456789abcdef"


def events(*documents):
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in documents)


def chunk(finish_reason=None, **delta):
    return {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}


def ended(kind, **response):
    return {"type": kind, "sequence_number": 0, "response": {**RESPONSE, **response}}


def provider(server, *, use_responses=False, **endpoint):
    return OpenAICompatibleProvider(
        OpenAIEndpoint(base_url=server.base_url, **endpoint), use_responses=use_responses
    )


async def ask(run, server, *, use_responses=False, tools=(), model_settings=None, **endpoint):
    subject = provider(server, use_responses=use_responses, **endpoint)
    try:
        settings = model_settings or ModelSettings()
        agent = Agent("a", model="m", tools=list(tools), model_settings=settings)
        return (await run(agent, run_config=RunConfig(model_provider=subject))).final_output
    finally:
        await subject.aclose()


async def ask_chain(run, server, second, use_responses, on):
    """What a chain of *server* and the Ollama *second* answers."""
    provider_map = MultiModelProviderMap()
    subject = provider(server, use_responses=use_responses)
    provider_map.set_mapping({"a": subject, "b": OllamaModelProvider(base_url=second.url)})
    chain = MultiModelProvider(
        provider_map=provider_map,
        default_model=["a/m", "b/m"],
        fallback=FallbackRules(on=on),
    )
    try:
        return (await run(Agent("a"), run_config=RunConfig(model_provider=chain))).final_output
    finally:
        await chain.aclose()


# What is not an answer


NO_ANSWERS = {
    "HTML": b"<html>\n\n<p>Bad gateway</p></html>",
    "nothing": b"",
    "blank lines": b"\n\n\n",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"hello"',
    "an empty object": b"{}",
    "choices and output that are null": b'{"choices": null, "output": null}',
    "choices and output that are not objects": b'{"choices": [5], "output": [5]}',
    "no choices": b'{"choices": []}',
    "a choice without a message": b'{"choices": [{"index": 0}], "output": 1}',
    "half an object": b'{"choices": [{"index": 0, "mess',
    "a deep nest": b"[" * 200_000,
    "bytes that are not text": b'{"\xff": 1}',
    "an event that is half JSON": b"data: {bad\n\n",
    "an event that is not an object": b"data: 5\n\n",
    "an event whose choices are a number": b'data: {"choices": 5, "type": 5}\n\n',
    "an event that is not text": b'data: {"a": "\xff"}\n\n',
    "a comment": b": wait\n\n",
    "an event without data": b"event: response.completed\n\n",
    "the end alone": b"data: [DONE]\n\n",
}


@APIS
@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_what_is_no_answer_is_an_error_of_our_tree(openai_server, run, use_responses, body):
    openai_server.body = body

    with pytest.raises(
        BrokenAnswerError, match=r"http://127\.0\.0\.1:\d+ .*check base_url"
    ) as caught:
        await ask(run, openai_server, use_responses=use_responses)

    assert openai_server.base_url.startswith(caught.value.host)
    assert len(openai_server.requests) == 1


@APIS
async def test_a_page_is_called_one(openai_server, run, use_responses):
    openai_server.body = NO_ANSWERS["HTML"]

    with pytest.raises(BrokenAnswerError, match="answered with a page of HTML"):
        await ask(run, openai_server, use_responses=use_responses)


@APIS
@pytest.mark.parametrize("name", ["HTML", "nothing", "null", "an event that is half JSON"])
async def test_a_chain_goes_on_after_what_is_no_answer_where_the_rules_say_so(
    openai_server, fake_ollama, run, use_responses, name
):
    openai_server.body = NO_ANSWERS[name]
    fake_ollama.reply("from b")

    assert await ask_chain(run, openai_server, fake_ollama, use_responses, ["broken"]) == "from b"
    with pytest.raises(BrokenAnswerError):
        await ask_chain(run, openai_server, fake_ollama, use_responses, ["connection"])


@APIS
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": 503, "message": "overloaded"}, "busy"),
        ({"code": "insufficient_quota", "message": "pay"}, "rate_limit"),
        ({"code": 404, "message": "no such model"}, "not_found"),
        ({"type": "overloaded_error"}, "busy"),
    ],
)
async def test_an_error_in_the_place_of_an_answer_has_the_reason_it_says(
    openai_server, fake_ollama, run, use_responses, error, reason
):
    openai_server.body = json.dumps({"error": error, "choices": None}).encode()
    fake_ollama.reply("from b")

    assert await ask_chain(run, openai_server, fake_ollama, use_responses, [reason]) == "from b"
    with pytest.raises(openai.APIError, match=error.get("message", "overloaded_error|no message")):
        await ask_chain(run, openai_server, fake_ollama, use_responses, ["connection"])


async def test_a_responses_stream_that_is_answered_with_a_whole_answer_is_an_error(
    openai_server, whole_and_streamed
):
    whole, streamed = whole_and_streamed
    openai_server.body = json.dumps(RESPONSE).encode()
    await ask(whole, openai_server, use_responses=True)

    with pytest.raises(BrokenAnswerError, match="instead of the stream"):
        await ask(streamed, openai_server, use_responses=True)


async def test_a_chat_that_is_answered_whole_is_an_answer_in_any_case(openai_server, run):
    message = {"index": 0, "message": {"role": "assistant", "content": "x"}}
    openai_server.body = json.dumps({"choices": [message]}).encode()

    assert await ask(run, openai_server) == "x"


# Half an answer


HALVES = {
    "responses": (True, events(ended("response.created"))),
    "responses, with the end of chat": (
        True,
        events(ended("response.created")) + b"data: [DONE]\n\n",
    ),
}


CHAT_HALVES = {
    "between events": events(chunk(role="assistant"), chunk(content="half")),
    "in an event": events(chunk(content="half")) + b'data: {"choi',
}


@pytest.mark.parametrize("body", CHAT_HALVES.values(), ids=CHAT_HALVES)
async def test_half_a_chat_keeps_what_was_shown_and_fails(openai_server, whole_and_streamed, body):
    openai_server.body = body
    whole, streamed = whole_and_streamed

    with pytest.raises(BrokenAnswerError, match=r"broke off|not JSON"):
        await ask(whole, openai_server)
    with pytest.raises(ModelBehaviorError, match=r"response\.failed"):
        await ask(streamed, openai_server)
    assert "half" in [event.delta for event in streamed.events if event.type.endswith("text.delta")]


@pytest.mark.parametrize(("use_responses", "body"), HALVES.values(), ids=HALVES)
async def test_a_stream_without_its_last_event_broke_off(
    openai_server, whole_and_streamed, use_responses, body
):
    openai_server.body = body

    with pytest.raises(BrokenAnswerError, match=r"broke off|before the answer|no JSON"):
        await ask(whole_and_streamed[1], openai_server, use_responses=use_responses)


async def test_a_responses_stream_that_only_began_goes_on_to_the_next_model(
    openai_server, fake_ollama, whole_and_streamed
):
    openai_server.body = events(ended("response.created"))
    run = whole_and_streamed[1]
    fake_ollama.reply("from b")

    assert await ask_chain(run, openai_server, fake_ollama, True, ["broken"]) == "from b"


@APIS
async def test_a_tool_call_that_was_cut_is_not_run(
    openai_server, whole_and_streamed, use_responses
):
    paid = []

    @function_tool
    def pay(amount: int) -> str:
        paid.append(amount)
        return "paid"

    function = {"name": "pay", "arguments": '{"amount": 1}'}
    call = {"index": 0, "id": "c1", "type": "function", "function": function}
    item = {"type": "function_call", "id": "f", "call_id": "c1", "status": "completed", **function}
    done = {"type": "response.output_item.done", "sequence_number": 0, "output_index": 0}
    openai_server.body = events(
        {**done, "item": item} if use_responses else chunk(tool_calls=[call])
    )

    with pytest.raises(BrokenAnswerError):
        await ask(whole_and_streamed[1], openai_server, use_responses=use_responses, tools=[pay])

    assert paid == []


CALL = {"name": "pay", "arguments": "", "type": "function_call", "id": "f", "call_id": "c1"}
OTHER_ENDS = {
    "cut, with a call": (
        {"status": "incomplete", "output": [CALL]},
        ModelOutputError,
        "may be incomplete",
    ),
    "complete, cut by its details": (
        {
            "status": "completed",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [CALL],
        },
        ModelOutputError,
        "may be incomplete",
    ),
    "complete, with half a call": (
        {"status": "completed", "output": [{**CALL, "status": "incomplete"}]},
        ModelOutputError,
        "may be incomplete",
    ),
    "still in the queue": ({"status": "queued"}, BrokenAnswerError, "the status 'queued'"),
    "still at work": ({"status": "in_progress"}, BrokenAnswerError, "the status 'in_progress'"),
    "cancelled": ({"status": "cancelled"}, BrokenAnswerError, "the status 'cancelled'"),
    "an error": (
        {"status": "completed", "error": {"message": "no GPU"}},
        openai.APIError,
        "no GPU",
    ),
}


@pytest.mark.parametrize("name", OTHER_ENDS)
async def test_a_response_that_is_called_complete_and_is_not_runs_nothing(openai_server, run, name):
    """LiteLLM's proxy sends the first one as ``response.completed``."""
    paid = []

    @function_tool
    def pay(amount: int = 100) -> str:
        paid.append(amount)
        return "paid"

    response, error, words = OTHER_ENDS[name]
    is_streamed, whole = run.is_streamed, json.dumps({**RESPONSE, **response}).encode()
    openai_server.body = events(ended("response.completed", **response)) if is_streamed else whole

    with pytest.raises(error, match=words):
        await ask(run, openai_server, use_responses=True, tools=[pay])

    assert paid == []


# What is an answer


HELLO = {
    "a finish reason": events(chunk(content="hello"), chunk("stop")),
    "the end, and no finish reason": events(chunk(content="hello")) + b"data: [DONE]\n\n",
    "usage after the finish reason": events(
        chunk("stop", content="hello"), {**CHUNK, "choices": [], "usage": None}
    ),
    "comments and events without data": b": wait\n\nevent: ping\n\n"
    + events(chunk("stop", content="hello")),
    "no space and other fields": b"id: 1\nretry: 5\nx: y\ndata:"
    + events(chunk("stop", content="hello"))[6:],
    "an event in two lines": events(chunk("stop", content="hello")).replace(b", ", b",\ndata: ", 1),
    "a last event without its end": events(chunk("stop", content="hello")).rstrip(),
    "more after the end": events(chunk("stop", content="hello")) + b"data: [DONE]\n\n<html>\n\n",
}


@pytest.mark.parametrize("body", HELLO.values(), ids=HELLO)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
async def test_a_stream_that_came_to_its_end_is_an_answer(
    openai_server, whole_and_streamed, body, line_end
):
    openai_server.body = body.replace(b"\n", line_end)

    assert await ask(whole_and_streamed[1], openai_server) == "hello"


@pytest.mark.parametrize("content_type", ["application/json", "text/html", None])
async def test_a_stream_is_known_by_its_bytes(openai_server, whole_and_streamed, content_type):
    openai_server.body = HELLO["a finish reason"]
    openai_server.content_type = content_type

    assert await ask(whole_and_streamed[1], openai_server) == "hello"


async def test_streams_share_one_connection(openai_server, whole_and_streamed):
    subject = provider(openai_server)
    for _ in range(3):
        await whole_and_streamed[1](
            Agent("a", model="m"), run_config=RunConfig(model_provider=subject)
        )
    await subject.aclose()

    assert openai_server.connections == 1


URL = "http://127.0.0.1/v1/chat/completions"


async def passed_on(pieces, url=URL):
    """What of a stream in *pieces* reaches the SDK, piece by piece."""

    async def body():
        for piece in pieces:
            yield piece

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body()))
    client = CheckedClient(secret_headers={}, transport=transport)
    async with client, client.stream("POST", url) as response:
        return [piece async for piece in response.aiter_raw()]


@given(st.data(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_are_the_same_however_they_are_cut(data, line_end):
    body = events(chunk(content="a"), chunk(content="b"), chunk("stop")) + b"data: [DONE]\n\n"
    body = body.replace(b"\n", line_end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[i:j] for i, j in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert b"".join(asyncio.run(passed_on(pieces))).split() == body.split()


async def test_an_event_is_passed_on_before_the_next_comes():
    is_seen = asyncio.Event()

    async def body():
        yield events(chunk(content="a")) + b"data: {"
        await is_seen.wait()
        yield events(chunk("stop"))[7:]

    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=body()))
    seen = []
    client = CheckedClient(secret_headers={}, transport=transport)
    async with client, client.stream("POST", URL) as response, asyncio.timeout(30):
        async for piece in response.aiter_raw():
            seen.append(piece)
            is_seen.set()

    assert len(seen) == 2


@APIS
async def test_an_answer_that_unpacks_without_end_is_left(
    openai_server, run, use_responses, monkeypatch
):
    monkeypatch.setattr("timestep.openai.checked_client.LONGEST", 1_000_000)
    monkeypatch.setattr("timestep.openai.checked_client.LONGEST_WITH_IMAGES", 1_000_000)
    monkeypatch.setattr("timestep.net.limits.LONGEST", 1_000_000)
    openai_server.body = gzip.compress(b": " * 1_000_000)
    openai_server.answer_headers = {"Content-Encoding": "gzip"}

    with pytest.raises(BrokenAnswerError, match=r"sent more than [\d,]+ bytes for one answer\."):
        await ask(run, openai_server, use_responses=use_responses)


CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "pay", "arguments": "{}"}
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
PART = {"type": "output_text", "text": "hi", "annotations": []}
ODD = (None, 5, ["x"], {"a": 1}, True)
MISSHAPED = [
    *({"output": odd} for odd in ODD),
    *({"id": odd, "output": [{**MESSAGE, "content": [PART]}]} for odd in ODD[1:]),
    *({"output": [{**MESSAGE, "content": odd}]} for odd in ODD),
    *({"output": [{**MESSAGE, "content": [{**PART, "text": odd}]}]} for odd in ODD),
    *(
        {"output": [{**CALL, name: odd}]}
        for odd in (*ODD, "\ud800")
        for name in ("type", "name", "arguments", "call_id")
        if (name, odd) != ("type", "\ud800")
    ),
]


@pytest.mark.parametrize("response", MISSHAPED, ids=json.dumps)
async def test_a_response_of_another_shape_is_a_broken_answer(openai_server, run, response):
    openai_server.body = (
        events(ended("response.completed", **response))
        if run.is_streamed
        else json.dumps({**RESPONSE, **response}).encode()
    )
    with pytest.raises(BrokenAnswerError, match=r"not (a|JSON)"):
        await ask(run, openai_server, use_responses=True, tools=[function_tool(pay)])


def pay(amount: int = 0):
    raise AssertionError(amount)


@pytest.mark.parametrize("is_ended", [True, False])
async def test_a_long_event_is_left(openai_server, run, is_ended, monkeypatch):
    monkeypatch.setattr("timestep.openai.checked_client.LONGEST_WITH_IMAGES", 1 << 20)
    body = events(ended("response.completed", metadata={"a": "x" * 2_000_000}))
    openai_server.body = body if is_ended else body[:-9]

    with pytest.raises(BrokenAnswerError, match=r"more than (1 MiB|1,048,576 bytes)"):
        await ask(run, openai_server, use_responses=True)


async def test_a_long_answer_is_checked_apart_and_passed_on_in_pieces(monkeypatch):
    is_checked, to_thread = [], asyncio.to_thread
    monkeypatch.setattr(
        asyncio, "to_thread", lambda check, text: is_checked.append(text) or to_thread(check, text)
    )
    long, short = (
        events({"type": "a", "b": "x" * 3_000_000}),
        events({"type": "response.completed"}),
    )

    pieces = await passed_on([long, short], url=URL.replace("chat/completions", "responses"))

    assert is_checked == [long.removeprefix(b"data: ").strip()]
    assert b"".join(pieces) == long + short
    assert max(map(len, pieces)) == 1 << 20


async def test_a_page_in_the_place_of_a_refusal_is_read_to_its_limit(openai_server, run):
    openai_server.status, openai_server.body = 500, b"x" * 3_000_000
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(run, openai_server, use_responses=True, max_retries=0)

    assert len(caught.value.response.text) < 2_000_000


@APIS
async def test_a_compressed_answer_is_read(openai_server, run, use_responses):
    whole = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}
    text = {"type": "output_text", "text": "x", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    response = {"output": [{**message, "content": [text]}]}
    if not run.is_streamed:
        body = json.dumps({**RESPONSE, **response, "choices": [whole]}).encode()
    elif use_responses:
        body = events(ended("response.completed", **response))
    else:
        body = events(chunk("stop", content="x"))
    openai_server.body = gzip.compress(body)
    openai_server.answer_headers = {"Content-Encoding": "gzip"}

    assert await ask(run, openai_server, use_responses=use_responses) == "x"


# Secrets


SAID = f"bad key Bearer {KEY} and {HEADER} and {QUERY} and c-{QUERY}"
ERROR = {"message": SAID, "code": KEY, "type": "x", "param": [{HEADER: KEY}]}
REPEATING = {
    "a refusal": (401, json.dumps({"error": ERROR})),
    "a refusal with escapes": (400, json.dumps({"error": ERROR}).replace("/", "\\u002f")),
    "a refusal that is not JSON": (403, SAID),
    "an error under 200": (200, json.dumps({"error": ERROR})),
    "a failed response": (
        200,
        json.dumps({**RESPONSE, "status": "failed", "error": {"code": "x", "message": SAID}}),
    ),
    "an error event": (200, events({"error": ERROR}).decode()),
    "an error event of Responses": (
        200,
        events({"type": "error", "sequence_number": 0, **ERROR, "param": None}).decode(),
    ),
    "a failed event": (
        200,
        events(
            ended(
                "response.failed", status="failed", error={"code": "server_error", "message": SAID}
            )
        ).decode(),
    ),
    "a page": (200, f"<html>{SAID}"),
}


@APIS
@pytest.mark.parametrize(("status", "body"), REPEATING.values(), ids=REPEATING)
async def test_a_secret_the_server_repeats_is_in_no_error_and_no_span(
    openai_server, run, use_responses, status, body, caplog
):
    caplog.set_level("DEBUG")
    openai_server.status = status
    openai_server.body = body.encode()
    openai_server.answer_headers = {"X-Request-Id": KEY, "WWW-Authenticate": f"Bearer {KEY}"}
    spans = Spans(lambda span: json.dumps(span.export(), default=str))
    add_trace_processor(spans)

    with pytest.raises(Exception, match=r".") as caught:
        await ask(
            run,
            openai_server,
            use_responses=use_responses,
            api_key=KEY,
            headers={"X-Key": HEADER},
            query={"key": QUERY},
            model_settings=ModelSettings(extra_query={"call-key": f"c-{QUERY}"}),
        )

    error = caught.value
    told = [
        "".join(traceback.format_exception(error)),
        repr(error),
        str(getattr(error, "body", "")),
        str(getattr(error, "code", "")),
        *spans.ended,
        # The connection's own log, for debugging, has every header.
        *(each.getMessage() for each in caplog.records if not each.name.startswith("httpcore")),
    ]
    if isinstance(error, openai.APIStatusError):
        told += [
            error.response.text,
            str(error.response.headers.multi_items()),
            str(error.request_id),
        ]
        assert "***" in error.response.text
    assert spans.ended
    assert not [text for text in told if "violet-otter" in text or HEADER in text or QUERY in text]


async def pieces(text):
    yield text.encode()


async def test_a_key_of_the_call_is_hidden_as_well():
    def answer(request):
        return httpx2.Response(401, content=pieces(f"{request.headers['authorization']} is no key"))

    async with CheckedClient(secret_headers={}, transport=httpx2.MockTransport(answer)) as client:
        response = await client.post(URL, headers={"Authorization": f"Bearer {KEY}"})

    assert response.text == "Bearer *** is no key"


@pytest.mark.parametrize(
    ("headers", "said", "shown"),
    [
        ({"X-Api-Key": "abc123"}, "no key abc123", "no key ***"),
        ({"Cookie": "session=SECRET; theme=dark"}, "SECRET is over", "*** is over"),
        ({"X-Pass": "my secret phrase"}, "a wrong phrase", "a wrong ***"),
        ({"x-stainless-lang": "python"}, "not for python", "not for python"),
        ({"User-Agent": "AsyncOpenAI"}, "AsyncOpenAI is old", "AsyncOpenAI is old"),
    ],
)
@pytest.mark.parametrize("is_of_the_call", [True, False])
async def test_no_part_of_a_header_is_repeated(headers, said, shown, is_of_the_call):
    async with CheckedClient(
        secret_headers={} if is_of_the_call else headers,
        transport=httpx2.MockTransport(lambda _: httpx2.Response(401, content=pieces(said))),
    ) as client:
        response = await client.post(URL, headers=headers if is_of_the_call else {})

    assert response.text == shown


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("wire", ["chat completions", "the SDK's model", "responses"])
async def test_headers_of_an_answer_need_not_be_ascii(wire, is_streamed):
    refusal = page('{"error": {"message": "no"}}', status="401 No")
    if wire == "responses":
        last = {"type": "response.completed", "sequence_number": 1, "response": ANSWERED}
        whole = page(events(last) if is_streamed else json.dumps(ANSWERED))
    else:
        choice = {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}
        message = {"role": "assistant", "content": "hi"}
        answer = {**CHUNK, "choices": [choice]}
        if not is_streamed:
            answer |= {"object": "chat.completion", "choices": [{**choice, "message": message}]}
        whole = page(events(answer) + DONE if is_streamed else json.dumps(answer))
    for answer, error in [(whole, None), (refusal, openai.AuthenticationError)]:
        region = "X-Region: Zürich".encode("latin-1")
        async with server(answer.replace(b"\r\n", b"\r\n" + region + b"\r\n", 1)) as url:
            agent = Agent("a", model=WIRES[wire](url))
            if error is None:
                assert (await ask_model(agent, "hi", is_streamed=is_streamed)).final_output == "hi"
            else:
                with pytest.raises(error):
                    await ask_model(agent, "hi", is_streamed=is_streamed)


ANSWERED = {
    **RESPONSE,
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        }
    ],
}
DONE = b"data: [DONE]\n\n"
