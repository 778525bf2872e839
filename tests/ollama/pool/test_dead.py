"""Servers that are down, busy, or without the model."""

import asyncio

import pytest
from agents import (
    Agent,
)

from tests.ollama.pool.servers import (
    QUIET,
    answer_all,
    ask,
    ask_together,
    chats,
    load,
    model_on,
    unload,
)
from timestep import (
    AuthenticationError,
    ModelNotFoundError,
    OllamaConnectionError,
    ServerBusyError,
)
from timestep.ollama import host_choice as pools
from timestep.ollama.host import _FIRST_PAUSE
from timestep.ollama.wire import Wire
from timestep.testing import Reset, Stall


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


async def test_one_that_died_is_asked_by_no_other_call(servers, model, asked):
    for server in servers:
        load(server)
    answer_all(servers, "hi")
    for count in range(4):  # each of them is tried
        await ask(model, f"first {count}")
    asked.clear()
    servers[3].refuse()

    for count in range(4):
        await ask(model, f"question {count}")

    assert asked[:2] == [servers[3].url, servers[0].url]
    assert servers[3].url not in asked[1:]


async def test_a_dead_one_is_asked_whether_it_is_back_ever_more_rarely(servers, clock, monkeypatch):
    asked = []
    get = Wire.ask

    async def counted(wire, path):
        asked.append((wire.endpoint.base_url, clock.now))
        return await get(wire, path)

    monkeypatch.setattr(Wire, "ask", counted)
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

    clock.now += _FIRST_PAUSE
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
    assert model._source._hosts._hosts[0].deaths == 1


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
    monkeypatch.setattr(pools, "_PATIENCE", 2.0)
    servers[0].fail(200, body="{}", path="/api/ps", fault=Stall(0))
    servers[1].reply("hi")

    assert await ask(model) == "hi"
    assert asked == [servers[1].url]


async def test_one_that_lived_and_tells_no_longer_of_its_models_is_taken_for_dead(
    servers, model, clock, monkeypatch
):
    answer_all(servers, "hi")
    await ask(model)
    monkeypatch.setattr(pools, "_PATIENCE", 2.0)
    servers[0].fail(200, body="{}", path="/api/ps", fault=Stall(0))
    clock.now += pools._FRESH

    assert await ask(model) == "hi"
    assert chats(servers) == [1, 1, 0, 0]


async def test_requests_are_shared_by_servers_that_are_all_silent_about_their_models(
    servers, clock, monkeypatch
):
    monkeypatch.setattr(pools, "_PATIENCE", 2.0)
    model = model_on(servers[:2], clock)
    together = Stall(0)
    for server in servers[:2]:
        server.fail(200, body="{}", path="/api/ps", fault=Stall(0), times=None)
        server.reply("hi", fault=together, times=None)

    await ask_together(model, servers, together, [2, 2, 0, 0])
