"""Servers that fail requests: they rest, and their model is not blamed on them."""

import asyncio

import pytest
from agents import (
    ModelRetrySettings,
    ModelSettings,
    function_tool,
    retry_policies,
)

from tests.ollama.pool.servers import (
    ask,
    ask_together,
    chats,
    load,
    looks,
    model_on,
)
from timestep import (
    ModelOutputError,
    OllamaError,
    OllamaModelProvider,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
)
from timestep.net.timeouts import Timeouts
from timestep.ollama import host_choice as pools
from timestep.ollama.host import _FIRST_PAUSE
from timestep.ollama.model import OllamaModel
from timestep.ollama.pool import Pool
from timestep.ollama.wire import Wire
from timestep.testing import ErrorLine, NoDone, Reset, Stall

FAILURES = {
    "is silent": lambda server: server.reply("lost", fault=Stall(0), times=None),
    "falls silent": lambda server: server.reply("lost words", fault=Stall(1), times=None),
    "breaks its connection": lambda server: server.reply("lost", fault=Reset(after=1), times=None),
    "ends early": lambda server: server.reply("lost words", fault=NoDone(), times=None),
    "sends an error line": lambda server: server.reply("lost", fault=ErrorLine(), times=None),
    "answers 500": lambda server: server.fail(500, "CUDA error", times=None),
    "answers 408": lambda server: server.fail(408, "too slow", times=None),
}


@pytest.fixture(params=FAILURES)
async def failing(request, servers, clock):
    """The model "m" on two servers; the first answered, and from now on fails every chat."""
    model = model_on(servers[:2], clock)
    servers[0].reply("hi")
    await ask(model)
    model._source.wires[0]._client.timeouts = Timeouts.of({"first_byte": 0.2, "idle": 0.2})
    FAILURES[request.param](servers[0])
    servers[1].reply("hi", times=None)
    return model


async def test_the_retry_of_what_failed_goes_to_another_server(servers, failing):
    retry = ModelRetrySettings(
        max_retries=1,
        policy=retry_policies.provider_suggested(),
        backoff={"initial_delay": 0.001, "jitter": False},
    )

    answer = await ask(failing, model_settings=ModelSettings(retry=retry))

    assert answer == "hi"
    assert chats(servers) == [2, 1, 0, 0]


async def test_one_that_fails_draws_no_requests_away_from_one_that_answers(servers, failing, clock):
    with pytest.raises(OllamaError):
        await ask(failing)

    for number in range(16):
        assert await ask(failing, f"question {number}") == "hi"
        clock.now += 0.6
    assert chats(servers) == [2, 16, 0, 0]


async def test_one_that_freezes_is_not_asked_again(servers, clock, monkeypatch):
    monkeypatch.setattr(pools, "_PATIENCE", 2.0)
    model = model_on(servers[:2], clock)
    load(servers[0])
    servers[0].reply("hi")
    await ask(model)
    model._source.wires[0]._client.timeouts = Timeouts.of({"first_byte": 1.0})
    servers[0].reply("lost", fault=Stall(0), times=None)
    servers[0].fail(200, body="{}", path="/api/ps", fault=Stall(0), times=None)
    servers[1].reply("hi", times=None)

    with pytest.raises(OllamaTimeoutError):
        await ask(model)
    assert [await ask(model, f"question {number}") for number in range(4)] == ["hi"] * 4

    assert chats(servers) == [3, 4, 0, 0]  # loading it is one
    assert looks(servers)[0] == 2  # at once, though what is known is fresh


async def test_one_that_fails_is_tried_ever_more_rarely(servers, clock):
    model = model_on(servers[:2], clock)
    load(servers[0])
    servers[0].fail(500, "CUDA error", times=None)
    servers[1].reply("late", fault=Stall(0))
    servers[1].reply("hi", times=None)
    tried = []
    begin = clock.now
    with pytest.raises(OllamaStatusError):
        await ask(model)
    long = asyncio.create_task(ask(model))  # so that the other one is the busier one
    await asyncio.to_thread(servers[1].wait_until, lambda: servers[1].chats)
    for number in range(199):
        clock.now += 1
        try:
            await ask(model, f"question {number}")
        except OllamaStatusError:
            tried.append(clock.now - begin)
    long.cancel()
    await asyncio.wait([long])

    assert tried == [1, 3, 7, 15, 31, 63, 123, 183]


async def test_one_that_failed_gets_one_request_at_a_time_until_it_answers(servers, clock):
    model = model_on(servers[:2], clock)
    for server in servers[:2]:
        load(server)
    servers[0].fail(500, "CUDA error")
    with pytest.raises(OllamaStatusError):
        await ask(model)
    first, second = Stall(0), Stall(0)
    clock.now += _FIRST_PAUSE

    for server, times in zip(servers, (1, 3), strict=False):
        server.reply("hi", fault=first, times=times)
        server.reply("hi", fault=second, times=2)

    await ask_together(model, servers, first, [1, 3, 0, 0])
    await ask_together(model, servers, second, [2, 2, 0, 0])


async def test_a_conversation_is_not_held_by_a_server_that_fails(servers, clock):
    model = model_on(servers[:2], clock)
    for server in servers[:2]:
        load(server)
    servers[0].reply("hi")
    servers[0].fail(500, "CUDA error")
    servers[1].reply("hi")
    await ask(model, "story")
    with pytest.raises(OllamaStatusError):
        await ask(model, "story")
    clock.now += _FIRST_PAUSE

    assert await ask(model, "story") == "hi"
    assert chats(servers) == [3, 2, 0, 0]


async def test_when_all_fail_the_one_that_fails_least_is_asked(servers, clock):
    model = model_on(servers[:2], clock)
    for server in servers[:2]:
        load(server)
    servers[0].fail(500, "CUDA error", times=2)
    servers[1].fail(500, "CUDA error")
    servers[1].reply("hi")
    for pause in (_FIRST_PAUSE, 0, 0):  # the first, the second, and the first again
        with pytest.raises(OllamaStatusError):
            await ask(model)
        clock.now += pause
    assert chats(servers) == [3, 2, 0, 0]

    assert await ask(model) == "hi"


@pytest.mark.parametrize(
    "words",
    ["error parsing tool call: raw='{'", "unexpected end of JSON input", "empty function name"],
)
@pytest.mark.parametrize("is_line", [True, False])
async def test_what_the_model_wrote_is_not_held_against_its_server(servers, model, words, is_line):
    if is_line:
        servers[0].reply("lost", fault=ErrorLine(words, after=0))
    else:
        servers[0].fail(500, words)
    servers[0].reply("hi")

    with pytest.raises(ModelOutputError):
        await ask(model)

    assert await ask(model) == "hi"


WRONG = {
    "an error line": lambda server: server.reply("lost", fault=ErrorLine()),
    "no end": lambda server: server.reply("lost words", fault=NoDone()),
    "nothing": lambda server: server.fail(200, body=""),
    "a page": lambda server: server.fail(200, body="<html>\n"),
    "an empty answer": lambda server: server.reply(""),
    "half an answer": lambda server: server.reply("lost words", fault=Reset(after=1)),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_an_error_names_the_one_server_it_was_with(servers, model, wrong):
    @function_tool
    def noop() -> str:
        """Nothing."""
        return ""

    load(servers[2])
    WRONG[wrong](servers[2])

    with pytest.raises(OllamaError) as caught:
        await ask(model, tools=[noop])

    assert caught.value.host == servers[2].url
    named = [server.url in str(caught.value) for server in servers]
    assert named in ([False, False, True, False], [False] * 4)
    assert any(named) or isinstance(caught.value, ModelOutputError)


async def test_the_error_for_a_prompt_that_is_not_rendered_names_the_one_server(
    openai_server, servers
):
    url = openai_server.base_url.removesuffix("/v1")
    endpoints = OllamaModelProvider(base_url=[url, servers[0].url])._endpoints.pool
    source = Pool([Wire(endpoint) for endpoint in endpoints], first=0)

    with pytest.raises(OllamaStreamError, match=f"^{url} does not show") as caught:
        await OllamaModel("m", source).render("Be kind.", "hi", ModelSettings(), [], None, [])

    assert (caught.value.host, caught.value.model) == (url, "m")
    await source.aclose()
