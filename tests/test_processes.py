"""Configuration that changes safely: providers side by side, one after another, and in workers."""

import asyncio
import gc
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from agents import Agent, RunConfig, Runner

from timestep import MultiModelProvider, OllamaModelProvider, build_provider
from timestep.config.schema import OpenAIProviderSettings
from timestep.config.settings import load_settings
from timestep.factory.endpoints import openai_endpoint
from timestep.ollama.pool import Pool
from timestep.ollama.wire import Wire
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.testing import FakeOllama, Stall

ROOT = Path(__file__).parents[1]
SOON = 10

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


async def ask(provider, name=None):
    agent = Agent("a", model=provider.get_model(name))
    return (await Runner.run(agent, "hi", run_config=RunConfig(tracing_disabled=True))).final_output


def configured(fake, key, **ollama):
    """A provider for *fake* with a key, from settings of its own."""
    settings = load_settings(
        environment={},
        env_file=None,
        ollama={"base_url": fake.url, "api_key": key, **ollama},
        default_model="ollama/m",
        aliases={"fast": ["ollama/m", "ollama/n"]},
    )
    return settings, build_provider(settings)


def keys(fake):
    return [request.headers["authorization"] for request in fake.requests]


@pytest.fixture
def other():
    with FakeOllama() as fake:
        yield fake


# Side by side


async def test_two_providers_in_one_process_do_not_touch_each_other(fake_ollama, other):
    fake_ollama.reply("one", times=20)
    other.reply("two", times=20)
    _, one = configured(fake_ollama, "key-of-one", options={"num_ctx": 1024})
    _, two = configured(other, "key-of-two", options={"seed": 7})

    answers = await asyncio.gather(*(ask(provider) for _ in range(20) for provider in (one, two)))

    assert answers == ["one", "two"] * 20
    assert set(keys(fake_ollama)) == {"Bearer key-of-one"}
    assert set(keys(other)) == {"Bearer key-of-two"}
    assert {json.dumps(chat["options"]) for chat in fake_ollama.chats} == {'{"num_ctx": 1024}'}
    assert {json.dumps(chat["options"]) for chat in other.chats} == {'{"seed": 7}'}


async def test_closing_one_provider_leaves_the_other_at_work(fake_ollama):
    gate = Stall(1)
    fake_ollama.reply("done")
    fake_ollama.reply("still here", fault=gate)
    _, one = configured(fake_ollama, "key-of-one")
    _, two = configured(fake_ollama, "key-of-two")
    await ask(one)
    working = asyncio.create_task(ask(two))
    await gate.reached()

    await one.aclose()
    gate.release()

    assert await working == "still here"


async def test_a_model_that_failed_for_one_provider_is_asked_by_the_other(fake_ollama):
    fake_ollama.fail(503, "busy", model="m")
    fake_ollama.reply("spare", model="n")
    fake_ollama.reply("first", model="m")
    _, one = configured(fake_ollama, "key")
    _, two = configured(fake_ollama, "key")

    assert await ask(one, "fast") == "spare"
    assert await ask(two, "fast") == "first"


def test_settings_are_read_once(fake_ollama, other, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    Path("timestep.toml").write_text('default_model = "ollama/m"')
    fake_ollama.reply("one")
    provider = MultiModelProvider.from_env()

    monkeypatch.setenv("OLLAMA_BASE_URL", other.url)
    Path("timestep.toml").write_text('default_model = "ollama/n"')

    assert asyncio.run(ask(provider)) == "one"
    assert fake_ollama.chats[0]["model"] == "m"


async def test_a_provider_keeps_its_settings_whatever_is_done_to_the_callers_tables(fake_ollama):
    fake_ollama.reply("one")
    options = {"stop": ["x"], "num_ctx": 1024}
    settings, _ = configured(fake_ollama, "key", options=options)

    options["stop"].append("y")
    options["num_ctx"] = 2
    provider = build_provider(settings)

    assert await ask(provider, "fast") == "one"
    assert fake_ollama.chats[0]["model"] == "m"
    assert fake_ollama.chats[0]["options"] == {"stop": ["x"], "num_ctx": 1024}


# One after another


async def test_a_new_key_takes_over_while_runs_with_the_old_one_end(fake_ollama):
    slow = Stall(1)
    fake_ollama.reply("with the old key", fault=slow, times=4)
    _, old = configured(fake_ollama, "old-key")
    running = [asyncio.create_task(ask(old)) for _ in range(4)]
    await asyncio.to_thread(fake_ollama.wait_until, lambda: len(fake_ollama.chats) == 4)

    fake_ollama.reply("with the new key", times=3)
    _, new = configured(fake_ollama, "new-key")
    assert [await ask(new) for _ in range(2)] == ["with the new key"] * 2
    slow.release()

    assert await asyncio.gather(*running) == ["with the old key"] * 4
    await old.aclose()
    assert await ask(new) == "with the new key"
    assert keys(fake_ollama) == ["Bearer old-key"] * 4 + ["Bearer new-key"] * 3
    assert not fake_ollama.disconnects
    await asyncio.to_thread(fake_ollama.wait_until, lambda: fake_ollama.open_connections == 1)


# Forked workers


def in_child(work):
    """What *work* returns in a forked process, which then ends at once."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            signal.alarm(SOON)  # a child that waits for ever ends, and says nothing
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(process, 0)
    return json.loads(said) if said else "nothing"


@pytest.fixture
def connects(monkeypatch):
    """Every connection that is opened from here on."""
    opened = []
    connect = socket.socket.connect

    def counted(self, address):
        opened.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", counted)
    return opened


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def single(fake, other):
    return OllamaModelProvider(base_url=fake.url)


def pool(fake, other):
    provider = OllamaModelProvider(base_url=[fake.url, other.url])
    hosts = provider.get_model("m")._source._hosts
    hosts._given_first = hosts._first = 0  # else the number of the process decides
    return provider


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the server has a thread
@pytest.mark.parametrize("kind", [single, pool])
@pytest.mark.parametrize("is_same_loop", [True, False], ids=["same loop", "new loop"])
def test_a_forked_worker_opens_connections_of_its_own(
    fake_ollama, other, loop, connects, kind, is_same_loop
):
    fake_ollama.reply("hi", times=None)
    provider = kind(fake_ollama, other)
    assert loop.run_until_complete(ask(provider, "m")) == "hi"
    kept = fake_ollama.open_connections
    assert kept == 1

    def work():
        connects.clear()
        asked = ask(provider, "m")
        said = loop.run_until_complete(asked) if is_same_loop else asyncio.run(asked)
        return [said, len(connects) > 0]

    assert in_child(work) == ["hi", True]
    connects.clear()
    assert loop.run_until_complete(ask(provider, "m")) == "hi"
    assert connects == []  # the parent's connection is still its own
    loop.run_until_complete(provider.aclose())


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the server has a thread
def test_a_forked_worker_that_ends_its_loop_does_not_hang_up_on_the_parent(
    fake_ollama, loop, connects
):
    fake_ollama.reply("hi", times=None)
    provider = single(fake_ollama, None)
    loop.run_until_complete(ask(provider, "m"))

    def work():
        loop.run_until_complete(loop.shutdown_asyncgens())
        return "ended"

    assert in_child(work) == "ended"
    connects.clear()
    assert loop.run_until_complete(ask(provider, "m")) == "hi"
    assert connects == []
    loop.run_until_complete(provider.aclose())


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the server has a thread
def test_a_forked_worker_never_collects_what_its_parent_uses(fake_ollama, loop):
    """Collecting a connection takes it from the list of what the parent waits for."""
    fake_ollama.reply("hi", times=None)
    provider = single(fake_ollama, None)
    loop.run_until_complete(ask(provider, "m"))

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")

        def work():
            loop.run_until_complete(ask(provider, "m"))
            gc.collect()
            return [str(each.message) for each in heard if each.category is ResourceWarning]

        assert in_child(work) == []
    loop.run_until_complete(provider.aclose())


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the server has a thread
def test_a_forked_worker_opens_connections_of_its_own_to_openais_api(openai_server, loop, connects):
    table = OpenAIProviderSettings(kind="openai", base_url=openai_server.base_url, api_key="sk")
    provider = OpenAICompatibleProvider(openai_endpoint(table))

    async def asked():  # its models belong to the loop they are asked for in
        return await ask(provider, "m")

    assert loop.run_until_complete(asked()) == "hello"

    def work():
        connects.clear()
        return [asyncio.run(asked()), len(connects)]

    assert in_child(work) == ["hello", 1]
    assert loop.run_until_complete(asked()) == "hello"
    assert openai_server.connections == 2
    loop.run_until_complete(provider.aclose())


def holders(fake):
    multi = MultiModelProvider()
    multi.get_model("ollama/m")
    ollama = OllamaModelProvider(base_url=[fake.url, "http://localhost:1"])
    hosts = ollama.get_model("m")._source
    table = OpenAIProviderSettings(kind="openai", base_url="http://localhost:1/v1", api_key="sk")
    assert isinstance(hosts, Pool)
    assert isinstance(hosts.wires[0], Wire)
    return [multi, ollama, hosts, hosts.wires[0], OpenAICompatibleProvider(openai_endpoint(table))]


def lock_of(holder):
    match holder:
        case Wire():
            return holder._client._per_loop._lock
        case OpenAICompatibleProvider():
            return holder._clients._lock
        case Pool():
            return holder._hosts._lock
        case _:
            return holder._lock


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the server has a thread
@pytest.mark.parametrize("number", range(5))
def test_a_lock_that_was_held_during_the_fork_is_free_in_the_worker(fake_ollama, number):
    holder = holders(fake_ollama)[number]

    def work():
        with lock_of(holder):
            return "free"

    with lock_of(holder):
        assert in_child(work) == "free"


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the server has a thread
def test_a_forked_worker_forgets_what_its_parent_had_under_way(fake_ollama, other):
    source = pool(fake_ollama, other).get_model("m")._source
    taken = source._hosts.take("m", None, [])

    assert in_child(lambda: [host.in_flight for host in source._hosts]) == [0, 0]
    assert [host.in_flight for host in source._hosts] == [1, 0]
    source._hosts.leave(taken)


# Spawned workers


SPAWN = """\
import asyncio
import multiprocessing
import sys

from agents import Agent, RunConfig, Runner

from timestep import Settings, build_provider


def work(settings, said):
    provider = build_provider(settings)
    agent = Agent("a", model=provider.get_model(None))
    run_config = RunConfig(tracing_disabled=True)
    said.put(asyncio.run(Runner.run(agent, "hi", run_config=run_config)).final_output)


if __name__ == "__main__":
    settings = Settings(ollama={"base_url": sys.argv[1], "api_key": "key"}, default_model="ollama/m")
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    worker = context.Process(target=work, args=(settings, said))
    worker.start()
    print(said.get(timeout=240))
    worker.join()
"""


@pytest.mark.skipif("spawn" not in multiprocessing.get_all_start_methods(), reason="no spawn here")
def test_a_spawned_worker_builds_its_own_provider_from_the_settings_it_is_sent(fake_ollama):
    fake_ollama.reply("hi from a worker")
    Path("workers.py").write_text(SPAWN)

    done = subprocess.run(
        [sys.executable, "workers.py", fake_ollama.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )

    assert done.stdout == "hi from a worker\n"
    assert keys(fake_ollama) == ["Bearer key"]
