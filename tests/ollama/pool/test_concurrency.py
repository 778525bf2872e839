"""`max_concurrency`: how many chats a server gets at once."""

import asyncio
import copy
import threading

import pytest

from tests.ollama.pool.servers import ask, chats
from timestep import ConfigurationError, MultiModelProvider, OllamaModelProvider
from timestep.config.settings import load_settings
from timestep.net.concurrency import Places
from timestep.testing import Stall

DOORS = {
    "constructor": lambda url: OllamaModelProvider(base_url=url, max_concurrency=2),
    "[ollama]": lambda url: MultiModelProvider.from_settings(
        load_settings(environment={"OLLAMA_BASE_URL": url, "TIMESTEP_OLLAMA__MAX_CONCURRENCY": "2"})
    ).provider_map.get_provider("ollama"),
    "[providers.gpu]": lambda url: MultiModelProvider.from_settings(
        load_settings(
            environment={
                "TIMESTEP_PROVIDERS__GPU__KIND": "ollama",
                "TIMESTEP_PROVIDERS__GPU__BASE_URL": url,
                "TIMESTEP_PROVIDERS__GPU__MAX_CONCURRENCY": "2",
            }
        )
    ).provider_map.get_provider("gpu"),
}


@pytest.mark.parametrize("door", DOORS)
async def test_a_server_gets_so_many_chats_at_once_and_the_others_in_their_order(fake_ollama, door):
    stalls = [Stall(0) for _ in range(3)]
    for stall in stalls:
        fake_ollama.reply("hi", fault=stall, times=2)
    provider = DOORS[door](fake_ollama.url)
    model = provider.get_model("m")
    asking = []
    for number in range(6):
        asking.append(asyncio.create_task(ask(model, f"question {number}")))
        await asyncio.sleep(0)

    for begun, stall in zip((2, 4, 6), stalls, strict=True):
        await asyncio.to_thread(fake_ollama.wait_until, lambda n=begun: len(fake_ollama.chats) == n)
        stall.release()
        first = asking[:begun]
        await asyncio.gather(*first)

    asked = [chat["messages"][-1]["content"] for chat in fake_ollama.chats]
    assert [sorted(asked[at : at + 2]) for at in (0, 2, 4)] == [
        [f"question {at}", f"question {at + 1}"] for at in (0, 2, 4)
    ]
    await provider.aclose()


async def test_one_that_is_cancelled_while_it_waits_leaves_its_turn_to_the_next(fake_ollama):
    stall = Stall(0)
    fake_ollama.reply("slow", fault=stall)
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(base_url=fake_ollama.url, max_concurrency=1)
    model = provider.get_model("m")
    first = asyncio.create_task(ask(model, "first"))
    await asyncio.to_thread(fake_ollama.wait_until, lambda: fake_ollama.chats)
    waiting = asyncio.create_task(ask(model, "cancelled"))
    last = asyncio.create_task(ask(model, "last"))
    for _ in range(20):
        await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])
    stall.release()

    assert await asyncio.gather(first, last) == ["slow", "hi"]
    assert [chat["messages"][-1]["content"] for chat in fake_ollama.chats] == ["first", "last"]
    await provider.aclose()


async def test_one_that_is_cancelled_at_work_frees_its_place(fake_ollama):
    fake_ollama.reply("lost", fault=Stall(0))
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(base_url=fake_ollama.url, max_concurrency=1)
    model = provider.get_model("m")
    first = asyncio.create_task(ask(model, "first"))
    await asyncio.to_thread(fake_ollama.wait_until, lambda: fake_ollama.chats)

    first.cancel()
    await asyncio.wait([first])

    assert await ask(model) == "hi"
    await provider.aclose()


async def test_a_failure_frees_its_place(fake_ollama):
    fake_ollama.fail(500, "CUDA error", times=3)
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(base_url=fake_ollama.url, max_concurrency=1)
    model = provider.get_model("m")

    answers = await asyncio.gather(*(ask(model) for _ in range(4)), return_exceptions=True)

    assert answers.count("hi") == 1
    await provider.aclose()


async def test_each_server_of_a_pool_has_places_of_its_own(servers):
    stall = Stall(0)
    for server in servers:
        server.reply("hi", fault=stall, times=None)
    provider = OllamaModelProvider(base_url=[s.url for s in servers], max_concurrency=1)
    model = provider.get_model("m")
    asking = [asyncio.create_task(ask(model, f"question {n}")) for n in range(8)]
    for server in servers:
        await asyncio.to_thread(server.wait_until, lambda server=server: server.chats)

    assert chats(servers) == [1, 1, 1, 1]
    stall.release()
    await asyncio.gather(*asking)
    assert chats(servers) == [2, 2, 2, 2]
    await provider.aclose()


async def test_a_ready_client_is_not_limited():
    with pytest.raises(ConfigurationError, match="max_concurrency"):
        OllamaModelProvider(ollama_client=object(), max_concurrency=1)


def test_places_are_shared_by_event_loops_in_threads():
    places, most, inside = Places(2), 0, []
    lock = threading.Lock()

    async def work():
        nonlocal most
        for _ in range(50):
            async with places:
                with lock:
                    inside.append(1)
                    most = max(most, len(inside))
                await asyncio.sleep(0)
                with lock:
                    inside.pop()

    async def several():
        await asyncio.gather(*(work() for _ in range(3)))

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert (most, inside, places._taken) == (2, [], 0)


async def test_a_place_that_is_handed_to_one_who_is_cancelled_goes_on_to_the_next():
    places = Places(1)
    entered = []

    async def work(name):
        async with places:
            entered.append(name)

    async with places:
        second, third = asyncio.create_task(work("second")), asyncio.create_task(work("third"))
        await asyncio.sleep(0)
    second.cancel()  # in the same turn of the loop in which it got the place
    await asyncio.wait([second, third])

    assert entered == ["third"]
    assert places._taken == 0


def test_one_that_waits_in_a_loop_that_was_closed_keeps_no_place():
    places = Places(1)
    loop = asyncio.new_event_loop()

    async def begin():
        await places.__aenter__()
        loop.waiting = asyncio.ensure_future(places.__aenter__())
        await asyncio.sleep(0)

    loop.run_until_complete(begin())
    waiting = loop.waiting
    loop.close()

    asyncio.run(places.__aexit__())

    assert places._taken == 0
    waiting._log_destroy_pending = False


def test_a_copy_of_places_is_empty():
    places = Places(2)
    asyncio.run(places.__aenter__())

    assert (copy.deepcopy(places).count, copy.deepcopy(places)._taken) == (2, 0)
