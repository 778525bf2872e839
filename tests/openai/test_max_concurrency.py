"""`max_concurrency` of servers that speak OpenAI's API: how many requests one gets at once."""

import asyncio

import pytest
from agents import Agent, RunConfig

from timestep import ConfigurationError, MultiModelProvider
from timestep.config.settings import Settings
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.testing import Close, FakeOpenAI, Stall

TABLES = [
    ("", {"api": "responses"}),
    ("", {"api": "chat_completions"}),
    ("p/", {"api": "responses"}),
    ("p/", {"api": "chat_completions"}),
    ("p/", {"api": "chat_completions", "adapter": "sdk"}),
]
every_table = pytest.mark.parametrize(("prefix", "table"), TABLES)


@pytest.fixture
def server():
    with FakeOpenAI() as fake:
        yield fake


def made(prefix, table, url, count):
    table = {"base_url": url, "api_key": "k", "max_concurrency": count, "max_retries": 0, **table}
    tables = {"providers": {"p": {"kind": "openai", **table}}} if prefix else {"openai": table}
    return MultiModelProvider.from_settings(Settings(_env_file=None, **tables))


class Asking:
    """Runs of one agent, which begin in the order in which they are asked for."""

    def __init__(self, run, prefix, provider):
        self._run = run
        self._agent = Agent(name="a", model=f"{prefix}m")
        self._config = RunConfig(model_provider=provider, tracing_disabled=True)

    async def begin(self, asked):
        task = asyncio.create_task(self._run(self._agent, asked, run_config=self._config))
        for _ in range(50):  # it is at its place, or waits for one
            await asyncio.sleep(0)
        return task


async def arrived(server, count):
    await asyncio.to_thread(server.wait_until, lambda: len(server.requests) == count, 30)


def asked(server):
    found = [request.json.get("input") or request.json["messages"] for request in server.requests]
    return [messages[-1]["content"] for messages in found]


@every_table
async def test_the_others_wait_in_their_order(prefix, table, server, run):
    stalls = [Stall(0), Stall(0)]
    for stall in stalls:
        server.reply("hi", fault=stall, times=2)
    provider = made(prefix, table, server.base_url, 2)
    asking = Asking(run, prefix, provider)
    tasks = [await asking.begin(f"question {number}") for number in range(4)]
    for count, stall in zip((2, 4), stalls, strict=True):
        await arrived(server, count)
        stall.release()
        await asyncio.gather(*tasks[:count])
    await provider.aclose()

    found = asked(server)
    assert sorted(found[:2]) == ["question 0", "question 1"]
    assert sorted(found[2:]) == ["question 2", "question 3"]


@every_table
async def test_one_that_is_cancelled_leaves_its_place_and_its_turn(prefix, table, server, run):
    server.reply("lost", fault=Stall(0))
    server.reply("hi")
    provider = made(prefix, table, server.base_url, 1)
    asking = Asking(run, prefix, provider)
    first = await asking.begin("first")
    await arrived(server, 1)
    waiting, last = await asking.begin("waiting"), await asking.begin("last")
    for task in (waiting, first):
        task.cancel()
        await asyncio.wait([task])

    assert (await last).final_output == "hi"
    assert asked(server) == ["first", "last"]
    await provider.aclose()


@every_table
async def test_a_failure_frees_its_place(prefix, table, server, run):
    server.fail(500, "broken")
    server.reply("half", fault=Close(after=1))
    server.reply("hi")
    provider = made(prefix, table, server.base_url, 1)
    asking = Asking(run, prefix, provider)
    for question in ("fails", "breaks off"):
        await asyncio.gather(await asking.begin(question), return_exceptions=True)

    assert (await (await asking.begin("last"))).final_output == "hi"
    await provider.aclose()


@pytest.mark.parametrize("count", [0, -1, True, "many"])
def test_a_wrong_number_is_refused_by_both_doors(count):
    with pytest.raises(ConfigurationError, match="max_concurrency"):
        OpenAIEndpoint("http://localhost:1/v1", max_concurrency=count)
    with pytest.raises(ValueError, match="max_concurrency"):
        Settings(openai={"max_concurrency": count})
