"""Which server is asked, and that a conversation stays with one."""

import asyncio

import pytest
from agents import (
    Agent,
    ModelSettings,
    Runner,
    add_trace_processor,
    function_tool,
)

from tests.ollama.pool.servers import (
    QUIET,
    answer_all,
    ask,
    chats,
    load,
    looks,
    unload,
)
from tests.spans import Spans
from timestep.net.wire_bytes import WireBytes
from timestep.ollama import host_choice as pools
from timestep.testing import Stall


async def test_the_server_that_has_the_model_loaded_is_asked(servers, model):
    load(servers[2])
    servers[2].reply("loaded", times=3)

    for count in range(3):
        assert await ask(model, f"question {count}") == "loaded"

    assert chats(servers) == [0, 0, 4, 0]  # loading it is one


async def test_what_is_loaded_is_asked_for_once_in_a_few_seconds(servers, model, clock):
    answer_all(servers, "hi")
    load(servers[0])
    for count in range(5):
        await ask(model, f"question {count}")
    assert looks(servers) == [1, 1, 1, 1]

    clock.now += pools._FRESH
    await ask(model)

    assert looks(servers) == [2, 2, 2, 2]


async def test_what_is_loaded_is_asked_for_again_once_a_model_had_to_load(servers, model):
    answer_all(servers, "hi")
    for count in range(3):
        await ask(model, f"question {count}")

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
    spans = Spans(only=lambda span: span.span_data.type == "generation")
    add_trace_processor(spans)
    load(servers[2])
    servers[2].reply("hi")

    await Runner.run(Agent("a", model=model), "hi")

    config = spans.ended[0].span_data.model_config
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


async def test_old_conversations_are_forgotten(servers, model, monkeypatch):
    monkeypatch.setattr(pools, "_MOST_CONVERSATIONS", 3)
    answer_all(servers, "hi")

    for count in range(10):
        await ask(model, f"question {count}")

    assert len(model._source._hosts._homes) == 3
