"""Cancelled requests, closed providers, threads and event loops."""

import asyncio
import threading

import pytest
from agents import (
    ModelSettings,
    ModelTracing,
)

from tests.ollama.pool.servers import (
    answer_all,
    ask,
    chats,
    model_on,
)
from timestep import (
    OllamaConnectionError,
)
from timestep.ollama import host_choice as pools
from timestep.testing import Stall


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
