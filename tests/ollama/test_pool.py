"""Several servers behind one provider: who is asked, who is left alone, and that nothing is lost."""

import asyncio
import copy
import random
import re
import threading
from contextlib import ExitStack

import httpx
import pytest
from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    ModelTracing,
    RunConfig,
    Runner,
    add_trace_processor,
    function_tool,
    retry_policies,
)
from agents.tracing import TracingProcessor

from timestep import (
    AuthenticationError,
    ConfigurationError,
    ModelNotFoundError,
    ModelOutputError,
    MultiModelProvider,
    OllamaConnectionError,
    OllamaError,
    OllamaModelProvider,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
    ServerBusyError,
)
from timestep.config.settings import load_settings
from timestep.net.timeouts import Timeouts
from timestep.net.wire_bytes import WireBytes
from timestep.ollama import pool as pools
from timestep.ollama.model import OllamaModel
from timestep.ollama.pool import Pool
from timestep.ollama.wire import Wire
from timestep.testing import ErrorLine, FakeOllama, NoDone, Reply, Reset, Stall

QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture
def servers():
    """Four servers that have nothing to say yet."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeOllama()) for _ in range(4)]


@pytest.fixture
def model(servers, clock):
    """The model "m" on all of the servers."""
    return model_on(servers, clock)


def model_on(servers, clock):
    urls = [server.url for server in servers]
    endpoints = OllamaModelProvider(base_url=urls)._endpoints.pool
    return OllamaModel("m", Pool([Wire(each) for each in endpoints], clock=clock))


async def ask(model, asked="hi", **keywords):
    result = await Runner.run(Agent("a", model=model, **keywords), asked, run_config=QUIET)
    return result.final_output


def chats(servers):
    """How many chats each of the servers was asked for."""
    return [len(server.chats) for server in servers]


def looks(servers):
    """How often each was asked for its loaded models."""
    return [sum(r.path == "/api/ps" for r in server.requests) for server in servers]


def answer_all(servers, *args, **keywords):
    for server in servers:
        server.reply(*args, times=None, **keywords)


def load(server, name="m"):
    httpx.post(f"{server.url}/api/chat", json={"model": name, "messages": []})


def unload(server, name="m"):
    httpx.post(f"{server.url}/api/chat", json={"model": name, "messages": [], "keep_alive": 0})


@pytest.fixture
def asked(monkeypatch):
    """The URL of the server for every chat that is begun, also where nobody hears it."""
    urls = []
    chat = Wire.chat

    def noted(wire, *arguments):
        urls.append(wire.endpoint.base_url)
        return chat(wire, *arguments)

    monkeypatch.setattr(Wire, "chat", noted)
    return urls


# Configuration


def test_one_url_is_no_pool(fake_ollama):
    for url in (fake_ollama.url, [fake_ollama.url], [fake_ollama.url, f"{fake_ollama.url}/"]):
        provider = OllamaModelProvider(base_url=url)

        assert isinstance(provider.get_model("m")._source, Wire)
        assert len(provider.wires()) == 1


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ([], "the list is empty"),
        (["http://a:1", "not a url"], "starts with http"),
        (["https://ollama.com", "http://a:1"], "ollama.com stands beside other servers"),
        (["https://ollama.com.", "http://a:1"], "ollama.com stands beside other servers"),
        (["http://a:1", 7], "is int, not text"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(urls, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        OllamaModelProvider(base_url=urls)


def test_a_key_is_for_each_of_the_urls_and_never_travels_in_the_clear():
    urls = ["https://a.example", "https://b.example"]
    wires = OllamaModelProvider(api_key="secret-key", base_url=urls).wires()

    assert [wire.endpoint.headers["authorization"] for wire in wires] == ["Bearer secret-key"] * 2
    with pytest.raises(ConfigurationError, match=r"unencrypted"):
        OllamaModelProvider(
            api_key="secret-key", base_url=["https://a.example", "http://b.example"]
        )


@pytest.mark.parametrize(
    "text", ["http://a:1,http://b:2", " http://a:1/ , http://b:2 ,", '["http://a:1", "http://b:2"]']
)
@pytest.mark.parametrize("name", ["OLLAMA_BASE_URL", "TIMESTEP_OLLAMA__BASE_URL"])
def test_a_variable_lists_urls_with_commas(name, text):
    settings = load_settings(environment={name: text})

    provider = MultiModelProvider.from_settings(settings)

    assert settings.ollama.base_url == ["http://a:1", "http://b:2"]
    assert isinstance(provider.get_model("ollama/m")._source, Pool)
    assert isinstance(provider.get_model("ollama/m:cloud")._source, Pool)


def test_the_environments_key_stays_at_home(caplog):
    environment = {"OLLAMA_BASE_URL": "http://a:1,http://b:2", "OLLAMA_API_KEY": "secret-key"}

    provider = MultiModelProvider.from_settings(load_settings(environment=environment))

    wires = provider.provider_map.get_provider("ollama").wires()
    assert ["authorization" in wire.endpoint.headers for wire in wires] == [False, False]
    assert "is not sent to http://a:1, http://b:2" in caplog.text


def test_a_configured_key_over_plain_http_to_one_of_them_is_refused():
    environment = {
        "OLLAMA_BASE_URL": "https://a.example,http://b.example",
        "TIMESTEP_OLLAMA__API_KEY": "secret-key",
    }

    with pytest.raises(ConfigurationError, match=r"http://b\.example unencrypted"):
        load_settings(environment=environment)


def test_a_provider_with_a_pool_is_copied(servers):
    provider = OllamaModelProvider(base_url=[server.url for server in servers])
    model = provider.get_model("m")

    assert len(copy.deepcopy(provider).wires()) == 4
    assert len(copy.deepcopy(model)._source.wires) == 4


# Who is asked


async def test_the_server_that_has_the_model_loaded_is_asked(servers, model):
    load(servers[2])
    servers[2].reply("loaded", times=3)

    for count in range(3):
        assert await ask(model, f"question {count}") == "loaded"

    assert chats(servers) == [0, 0, 4, 0]  # loading it is one


async def test_what_is_loaded_is_asked_for_once_in_a_few_seconds(servers, model, clock):
    answer_all(servers, "hi")
    for count in range(5):
        await ask(model, f"question {count}")
    assert looks(servers) == [1, 1, 1, 1]

    clock.now += pools._FRESH
    await ask(model)

    assert looks(servers) == [2, 2, 2, 2]


async def test_a_model_that_was_loaded_elsewhere_meanwhile_is_found(servers, model, clock):
    servers[0].reply("first")
    await ask(model)
    unload(servers[0])
    load(servers[3])
    servers[3].reply("second")

    clock.now += pools._FRESH

    assert await ask(model, "another question") == "second"


async def test_requests_at_once_go_to_the_least_busy(servers, model):
    together = Stall(0)
    answer_all(servers, "hi", fault=together)
    for server in servers:
        load(server)

    async def release():
        await asyncio.gather(*(asyncio.to_thread(enough, server) for server in servers))
        together.release()

    def enough(server):
        server.wait_until(lambda: len(server.chats) == 1 + 4)  # loading it is one

    await asyncio.gather(release(), *(ask(model, f"question {n}") for n in range(16)))

    assert chats(servers) == [5, 5, 5, 5]


async def test_a_conversation_stays_where_its_prompt_is_cached(servers, model):
    for server in servers:
        load(server)
    answer_all(servers, lambda request: f"answer {len(request.json['messages'])}")
    stories = {f"story {n}": [] for n in range(8)}

    for _ in range(5):
        for name, items in stories.items():
            items.append({"role": "user", "content": name if not items else "go on"})
            result = await Runner.run(Agent("a", model=model), list(items), run_config=QUIET)
            items[:] = result.to_input_list()

    homes = {}
    for index, server in enumerate(servers):
        for chat in server.chats:
            if chat["messages"]:
                homes.setdefault(chat["messages"][0]["content"], set()).add(index)
    assert len(homes) == 8
    assert all(len(home) == 1 for home in homes.values())


async def test_conversations_that_began_together_stay_apart(servers, model):
    for server in servers:
        load(server)
    together = Stall(0)
    answer_all(servers, "hi", fault=together)

    def everybody():
        for server in servers:
            server.wait_until(lambda server=server: len(server.chats) == 2)
        together.release()

    names = [f"story {n}" for n in range(4)]
    await asyncio.gather(asyncio.to_thread(everybody), *(ask(model, name) for name in names))
    first = {server.chats[-1]["messages"][0]["content"]: server for server in servers}
    assert len(first) == 4

    for name in reversed(names):
        history = [
            {"role": "user", "content": name},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "more"},
        ]
        await ask(model, history)
        assert first[name].chats[-1]["messages"][0]["content"] == name
        assert len(first[name].chats[-1]["messages"]) == 3


async def test_the_span_names_the_server_that_answered(servers, model):
    spans = []

    class Spans(TracingProcessor):
        def on_trace_start(self, trace): ...
        def on_trace_end(self, trace): ...
        def on_span_start(self, span): ...
        def on_span_end(self, span):
            spans.append(span)

        def shutdown(self): ...
        def force_flush(self): ...

    add_trace_processor(Spans())
    load(servers[2])
    servers[2].reply("hi")

    await Runner.run(Agent("a", model=model), "hi")

    config = next(s.span_data.model_config for s in spans if s.span_data.type == "generation")
    assert config["base_url"] == servers[2].url


async def test_the_bytes_that_are_kept_are_those_of_the_server_that_answered(servers, model):
    servers[0].add_model("other")  # answers 404
    servers[1].reply("hi")
    kept = WireBytes()
    body = {"model": "m", "messages": [{"role": "system", "content": "Be kind."}]}
    exchange = model._source.chat(body, {}, "m")
    exchange.keep_bytes(kept)

    read = b"".join([piece async for piece in exchange])
    await exchange.aclose()

    assert (kept.url, kept.status) == (f"{servers[1].url}/api/chat", 200)
    assert b"".join(kept.response) == read
    assert b'"content":"hi"' in read
    await model._source.aclose()


# Servers that are down


async def test_one_that_dies_before_it_answers_costs_one_request_more(servers, model, run):
    load(servers[1])
    servers[1].reply("lost", fault=Reset(after=0))
    servers[0].reply("hi")

    result = await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert result.final_output == "hi"
    assert chats(servers) == [1, 2, 0, 0]
    assert result.context_wrapper.usage.requests == 1


async def test_one_that_is_down_is_not_asked(servers, model, run, asked):
    servers[0].refuse()
    answer_all(servers, "hi")
    for _ in range(3):
        assert (await run(Agent("a", model=model), "hi", run_config=QUIET)).final_output == "hi"

    assert set(asked) == {servers[1].url}


async def test_one_that_died_is_asked_by_nobody_else(servers, model, asked):
    for server in servers:
        load(server)
    answer_all(servers, "hi")
    await ask(model, "question")
    asked.clear()
    servers[0].refuse()

    for count in range(4):
        await ask(model, f"question {count}")

    assert asked[:2] == [servers[0].url, servers[1].url]
    assert servers[0].url not in asked[1:]


async def test_a_dead_one_is_asked_whether_it_is_back_ever_more_rarely(servers, clock, monkeypatch):
    asked = []
    get = Wire.get

    async def counted(wire, path):
        asked.append((wire.endpoint.base_url, clock.now))
        return await get(wire, path)

    monkeypatch.setattr(Wire, "get", counted)
    model = model_on(servers, clock)
    servers[0].refuse()
    answer_all(servers, "hi")
    begin = clock.now
    for _ in range(200):
        await ask(model)
        clock.now += 1

    times = [at - begin for url, at in asked if url == servers[0].url]
    assert times == [0, 1, 3, 7, 15, 31, 63, 123, 183]


async def test_one_that_is_back_is_used_again(servers, model, clock):
    load(servers[0])
    answer_all(servers, "hi")
    await ask(model)
    servers[0].refuse()
    await ask(model)
    servers[0].accept()
    assert chats(servers)[0] == 2

    clock.now += pools._FIRST_PAUSE
    for server in servers[1:]:
        unload(server)
    clock.now += pools._FRESH
    await ask(model, "something else")

    assert chats(servers)[0] == 3


async def test_requests_that_die_together_tell_of_one_death(servers, clock):
    model = model_on(servers[:2], clock)
    load(servers[0])
    servers[0].reply("lost", fault=Stall(0), times=4)
    servers[1].reply("hi", times=4)
    asking = [asyncio.create_task(ask(model, f"question {n}")) for n in range(4)]
    await asyncio.to_thread(servers[0].wait_until, lambda: len(servers[0].chats) == 5)

    await asyncio.to_thread(servers[0].refuse)

    assert await asyncio.gather(*asking) == ["hi"] * 4
    assert model._source._hosts[0].deaths == 1


async def test_when_all_are_down_the_error_names_them_all(servers, model, run):
    for server in servers:
        server.refuse()

    with pytest.raises(OllamaConnectionError, match="None of the 4 Ollama servers") as caught:
        await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert all(server.url in str(caught.value) for server in servers)


async def test_when_all_were_down_the_first_that_is_back_answers_at_once(servers, model, run):
    for server in servers:
        server.refuse()
    with pytest.raises(OllamaConnectionError):
        await run(Agent("a", model=model), "hi", run_config=QUIET)
    servers[3].accept()
    servers[3].reply("back")

    assert (await run(Agent("a", model=model), "hi", run_config=QUIET)).final_output == "back"


async def test_one_that_has_no_such_model_is_not_asked_for_it_again(servers, model, clock):
    servers[0].add_model("other")
    for server in servers[1:]:
        server.add_model("m")
    servers[1].reply("hi", times=3)
    for count in range(3):
        assert await ask(model, f"question {count}") == "hi"
        unload(servers[1])
        clock.now += pools._FRESH
    assert chats(servers)[0] == 1

    servers[0].add_model("m")
    load(servers[0])
    servers[0].reply("pulled")
    clock.now += pools._LACKING

    assert await ask(model) == "pulled"


async def test_a_model_that_none_of_them_has_is_an_error(servers, model, run):
    for server in servers:
        server.add_model("other")

    with pytest.raises(ModelNotFoundError, match="ollama pull m"):
        await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert chats(servers) == [1, 1, 1, 1]


async def test_a_busy_one_is_replaced_by_one_other(servers, model, run):
    for server in servers:
        server.fail(503, "server busy", times=None)

    with pytest.raises(ServerBusyError):
        await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert sum(chats(servers)) == 2


@pytest.mark.parametrize("status", [502, 503])
async def test_busy_ones_are_chosen_last_until_they_had_a_rest(servers, model, run, clock, status):
    for server in servers[:2]:
        server.fail(status, "server busy")
    answer_all(servers, "hi")

    with pytest.raises(ServerBusyError):
        await run(Agent("a", model=model), "one", run_config=QUIET)
    await asyncio.gather(*(ask(model, f"two {number}") for number in range(40)))
    assert chats(servers)[:2] == [1, 1]

    clock.now += 1.5
    await asyncio.gather(*(ask(model, f"three {number}") for number in range(40)))
    assert min(chats(servers)) > 1


async def test_a_gateway_that_is_busy_when_it_is_asked_for_its_models_is_chosen_last(
    servers, model
):
    for server in servers[:3]:
        server.fail(502, body="Bad gateway", path="/api/ps", times=None)
    servers[3].reply("hi")

    assert await ask(model) == "hi"
    assert chats(servers) == [0, 0, 0, 1]


async def test_an_error_that_is_not_the_servers_goes_nowhere_else(servers, model, run):
    servers[0].fail(401, "unauthorized")

    with pytest.raises(AuthenticationError):
        await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert chats(servers) == [1, 0, 0, 0]


async def test_an_answer_that_began_goes_nowhere_else(servers, model):
    servers[0].reply("one two three", fault=Reset(after=1))

    with pytest.raises(OllamaConnectionError):
        await ask(model)

    assert chats(servers) == [1, 0, 0, 0]


async def test_one_that_tells_nothing_of_its_models_is_used_all_the_same(servers, model):
    for server in servers:
        server.fail(404, body="404 page not found", path="/api/ps", times=None)
    servers[0].reply("hi")

    assert await ask(model) == "hi"


async def test_one_that_is_silent_from_the_beginning_is_taken_for_dead(
    servers, model, monkeypatch, asked
):
    monkeypatch.setattr(pools, "_PATIENCE", 0.1)
    servers[0].fail(200, body="{}", path="/api/ps", fault=Stall(0))
    servers[1].reply("hi")

    assert await ask(model) == "hi"
    assert asked == [servers[1].url]


async def test_one_that_lived_and_tells_no_longer_of_its_models_is_taken_for_dead(
    servers, model, clock, monkeypatch
):
    answer_all(servers, "hi")
    await ask(model)
    monkeypatch.setattr(pools, "_PATIENCE", 0.5)
    servers[0].fail(200, body="{}", path="/api/ps", fault=Stall(0))
    clock.now += pools._FRESH

    assert await ask(model) == "hi"
    assert chats(servers) == [1, 1, 0, 0]


async def test_requests_are_shared_by_servers_that_are_all_silent_about_their_models(
    servers, clock, monkeypatch
):
    monkeypatch.setattr(pools, "_PATIENCE", 0.1)
    model = model_on(servers[:2], clock)
    together = Stall(0)
    for server in servers[:2]:
        server.fail(200, body="{}", path="/api/ps", fault=Stall(0), times=None)
        server.reply("hi", fault=together, times=None)

    await ask_together(model, servers, together, [2, 2, 0, 0])


# Servers that fail


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


async def ask_together(model, servers, stall, shares):
    """Ask new questions, and release *stall* when each of *servers* has its share of them."""
    asked = chats(servers)

    def release():
        for server, before, share in zip(servers, asked, shares, strict=False):
            server.wait_until(lambda server=server, now=before + share: len(server.chats) >= now)
        stall.release()

    asking = (ask(model, f"question {sum(asked) + number}") for number in range(sum(shares)))
    await asyncio.gather(asyncio.to_thread(release), *asking)
    assert [now - before for now, before in zip(chats(servers), asked, strict=True)] == shares


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
    monkeypatch.setattr(pools, "_PATIENCE", 0.5)
    model = model_on(servers[:2], clock)
    servers[0].reply("hi")
    await ask(model)
    model._source.wires[0]._client.timeouts = Timeouts.of({"first_byte": 0.1})
    servers[0].reply("lost", fault=Stall(0), times=None)
    servers[0].fail(200, body="{}", path="/api/ps", fault=Stall(0), times=None)
    servers[1].reply("hi", times=None)

    with pytest.raises(OllamaTimeoutError):
        await ask(model)
    assert [await ask(model, f"question {number}") for number in range(4)] == ["hi"] * 4

    assert chats(servers) == [2, 4, 0, 0]
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
    clock.now += pools._FIRST_PAUSE

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
        await ask(model, "another")
    clock.now += pools._FIRST_PAUSE

    assert await ask(model, "story") == "hi"
    assert chats(servers) == [3, 2, 0, 0]


async def test_when_all_fail_the_one_that_fails_least_is_asked(servers, clock):
    model = model_on(servers[:2], clock)
    for server in servers[:2]:
        load(server)
    servers[0].fail(500, "CUDA error", times=2)
    servers[1].fail(500, "CUDA error")
    servers[1].reply("hi")
    for pause in (pools._FIRST_PAUSE, 0, 0):  # the first, the second, and the first again
        with pytest.raises(OllamaStatusError):
            await ask(model)
        clock.now += pause
    assert chats(servers) == [3, 2, 0, 0]

    assert await ask(model) == "hi"


async def test_what_the_model_wrote_is_not_held_against_its_server(servers, model):
    servers[0].fail(500, "error parsing tool call: raw='{'")
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
    provider = OllamaModelProvider(base_url=[url, servers[0].url])

    with pytest.raises(OllamaStreamError, match=f"^{url} does not show") as caught:
        await provider.get_model("m").render("Be kind.", "hi", ModelSettings(), [], None, [])

    assert (caught.value.host, caught.value.model) == (url, "m")
    await provider.aclose()


async def test_a_request_that_is_cancelled_at_any_step_leaves_nothing_behind(servers, clock):
    answer_all(servers, "hi")
    model = model_on(servers, clock)
    for steps in range(40):
        clock.now += pools._FRESH
        arguments = (None, f"question {steps}", ModelSettings(), [], None, [])
        task = asyncio.create_task(model.get_response(*arguments, ModelTracing.DISABLED))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    hosts = model._source._hosts
    assert [(host.in_flight, host.is_asked) for host in hosts] == [(0, False)] * 4
    assert await ask(model) == "hi"
    await model._source.aclose()


def test_threads_share_one_pool(servers, model):
    answer_all(servers, "hi")
    outputs = []

    async def work():
        outputs.extend([await ask(model, f"question {number}") for number in range(10)])

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert outputs == ["hi"] * 40
    assert [host.in_flight for host in model._source._hosts] == [0, 0, 0, 0]


@pytest.mark.parametrize("answer", ["[]", '"x"', '{"models": 3}', '{"models": [3, {}]}'])
async def test_a_list_that_is_none_is_an_empty_one(servers, model, answer):
    for server in servers:
        server.fail(200, body=answer, path="/api/ps")
    servers[0].reply("hi")

    assert await ask(model) == "hi"


async def test_what_a_model_can_do_is_asked_of_one_that_lives(servers, model, run):
    @function_tool
    def noop() -> str:
        """Nothing."""
        return ""

    servers[0].refuse()
    answer_all(servers[1:], "hi")

    agent = Agent("a", model=model, tools=[noop])
    assert (await run(agent, "hi", run_config=QUIET)).final_output == "hi"
    assert sum(r.path == "/api/show" for s in servers for r in s.requests) == 1


async def test_a_prompt_is_rendered_by_one_of_them(servers, model):
    servers[0].refuse()

    rendered = await model.render("Be kind.", "hi", ModelSettings(), [], None, [])

    assert "Be kind." in rendered.text


# Hanging up


async def test_an_abandoned_exchange_leaves_its_server(servers, model):
    servers[0].reply("one two three", fault=Stall(0))
    task = asyncio.create_task(ask(model))
    await asyncio.to_thread(servers[0].wait_until, lambda: servers[0].chats)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await servers[0].disconnected()
    assert [host.in_flight for host in model._source._hosts] == [0, 0, 0, 0]
    assert chats(servers) == [1, 0, 0, 0]


async def test_a_provider_that_is_closed_asks_no_other_server(servers, model):
    servers[0].reply("one two three", fault=Stall(0))
    task = asyncio.create_task(ask(model))
    await asyncio.to_thread(servers[0].wait_until, lambda: servers[0].chats)

    await model._source.aclose()

    with pytest.raises(OllamaConnectionError, match="cut off"):
        await task
    assert chats(servers) == [1, 0, 0, 0]
    assert [(host.deaths, host.failures) for host in model._source._hosts] == [(0, 0)] * 4


def test_one_pool_serves_loop_after_loop(servers, model):
    answer_all(servers, "hi")

    assert [asyncio.run(ask(model)) for _ in range(3)] == ["hi"] * 3
    for server in servers:
        server.wait_until(lambda server=server: not server.open_connections)


async def test_old_conversations_are_forgotten(servers, model, monkeypatch):
    monkeypatch.setattr(pools, "_MOST_CONVERSATIONS", 3)
    answer_all(servers, "hi")

    for count in range(10):
        await ask(model, f"question {count}")

    assert len(model._source._homes) == 3


def test_timeouts_are_those_of_the_provider(servers):
    provider = OllamaModelProvider(base_url=[s.url for s in servers], timeout=7)

    assert {wire.timeouts for wire in provider.wires()} == {Timeouts.of(7)}


# All at once


class Bank:
    """A tool with an effect: it must be called once for each agent and step."""

    def __init__(self):
        self.paid = []

    def tool(self, owner):
        @function_tool(name_override="pay")
        def pay(step: int) -> str:
            """Pay a bill."""
            self.paid.append((owner, step))
            return f"paid {step}"

        return pay


STEPS = 3


def cashier(request):
    """Calls `pay` for every step that is not paid yet, then says who was served."""
    messages = request.json["messages"]
    done = sum(message["role"] == "tool" for message in messages)
    if done < STEPS:
        return Reply(tool_calls=[("pay", {"step": done})], delay=0.01)
    name = next(m["content"] for m in messages if m["role"] == "user")
    pieces = ["served ", name, " well"]
    return Reply("".join(pieces), pieces=pieces, delay=0.01, interval=0.005)


@pytest.mark.parametrize("seed", [1, 2])
async def test_servers_that_die_and_come_back_lose_nothing_and_do_nothing_twice(servers, seed):
    """64 agents with tools; at any time at least one of four servers is up."""
    answer_all(servers, cashier)
    provider = OllamaModelProvider(base_url=[server.url for server in servers])
    bank, chance, agents = Bank(), random.Random(seed), 64
    retry = ModelRetrySettings(
        max_retries=50,  # an answer that broke off in the middle is asked for again by the SDK
        policy=retry_policies.provider_suggested(),
        backoff={"initial_delay": 0.001, "max_delay": 0.01, "jitter": False},
    )

    async def work(number):
        name = f"agent {number}"
        agent = Agent(
            name,
            model=provider.get_model("m"),
            tools=[bank.tool(name)],
            model_settings=ModelSettings(retry=retry),
        )
        return await Runner.run(agent, name, run_config=QUIET)

    async def strike(working):
        down = []
        strikes = 0
        while not all(task.done() for task in working):
            strikes += 1
            if down and (len(down) == 3 or chance.random() < 0.5):
                await asyncio.to_thread(down.pop(chance.randrange(len(down))).accept)
            else:
                victim = chance.choice([s for s in servers if s not in down])
                await asyncio.to_thread(victim.refuse)
                down.append(victim)
            await asyncio.wait(working, timeout=0.01)
        for server in down:
            await asyncio.to_thread(server.accept)
        return strikes

    working = [asyncio.create_task(work(number)) for number in range(agents)]
    strikes = await strike(working)
    results = await asyncio.gather(*working)

    assert strikes > 5
    assert sum(chats(servers)) > agents * (STEPS + 1)  # some were struck in the middle
    assert [result.final_output for result in results] == [
        f"served agent {number} well" for number in range(agents)
    ]
    assert {len(result.raw_responses) for result in results} == {STEPS + 1}
    assert sorted(bank.paid) == sorted(
        (f"agent {number}", step) for number in range(agents) for step in range(STEPS)
    )
    hosts = provider.get_model("m")._source._hosts
    assert [host.in_flight for host in hosts] == [0, 0, 0, 0]
    assert sum(chat > agents // 8 for chat in chats(servers)) >= 2  # the work was shared
    await provider.aclose()
