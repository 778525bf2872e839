"""A request ends when its caller leaves, and leaves nothing behind."""

import asyncio
import gc
import itertools
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from agents import Agent, ModelSettings, ModelTimeoutError, ModelTracing, Runner

from timestep import OllamaModelProvider
from timestep.errors import OllamaConnectionError, OllamaTimeoutError
from timestep.net import exchange
from timestep.testing import Stall

OFTEN = range(30)
SOON = 60.0  # what leaks stays open for ever
DESCRIPTORS = Path("/proc/self/fd")
BEFORE_THE_ANSWER, WITHIN_THE_ANSWER = 0, 1
EVERYWHERE = pytest.mark.parametrize("after", [BEFORE_THE_ANSWER, WITHIN_THE_ANSWER])


pytestmark = pytest.mark.usefixtures("transport")


@pytest.fixture
def endless(fake_ollama):
    """A server whose answers fall silent after so many chunks, and never end."""

    def prepare(after):
        stall = Stall(after)
        fake_ollama.reply("one two three", times=None, fault=stall)
        return stall

    return prepare


async def hung_up(fake):
    """The server sees every connection closed."""
    await asyncio.to_thread(fake.wait_until, lambda: not fake.open_connections, SOON)


async def asked(fake, count):
    """The server has got *count* requests."""
    await asyncio.to_thread(fake.wait_until, lambda: len(fake.requests) >= count)


def stream(model):
    return model.stream_response(None, "Hi", ModelSettings(), [], None, [], ModelTracing.DISABLED)


async def read_all(model):
    async for _ in stream(model):
        pass


def whole(model):
    return model.get_response(None, "Hi", ModelSettings(), [], None, [], ModelTracing.DISABLED)


async def shown(events):
    """The next text that *events* show."""
    async for event in events:
        if event.type == "response.output_text.delta":
            return event.delta
    raise AssertionError("the stream ended")


def is_text(event):
    return event.type == "raw_response_event" and event.data.type == "response.output_text.delta"


# One owner


@EVERYWHERE
async def test_a_model_timeout_hangs_up(fake_ollama, model, run, endless, after):
    endless(after)
    agent = Agent("a", model=model, model_settings=ModelSettings(timeout=0.1))

    for _ in range(4):
        runs = (run(agent, "Hi") for _ in range(25))
        outcomes = await asyncio.gather(*runs, return_exceptions=True)

        assert {type(outcome) for outcome in outcomes} == {ModelTimeoutError}
        await hung_up(fake_ollama)


async def test_cancelling_a_streamed_run_hangs_up(fake_ollama, model, endless):
    endless(WITHIN_THE_ANSWER)
    for _ in OFTEN:
        result = Runner.run_streamed(Agent("a", model=model), "Hi")
        async for event in result.stream_events():
            if is_text(event):
                result.cancel()

        await hung_up(fake_ollama)
    assert len(fake_ollama.disconnects) == len(OFTEN)


async def test_breaking_out_of_a_cancelled_run_hangs_up(fake_ollama, model, endless):
    endless(WITHIN_THE_ANSWER)
    for _ in OFTEN:
        result = Runner.run_streamed(Agent("a", model=model), "Hi")
        events = result.stream_events()
        async for event in events:
            if is_text(event):
                break
        result.cancel()
        await events.aclose()

        await hung_up(fake_ollama)
    assert len(fake_ollama.disconnects) == len(OFTEN)


async def test_closing_a_models_stream_hangs_up_before_the_call_returns(
    fake_ollama, model, endless
):
    endless(WITHIN_THE_ANSWER)
    before = sockets()
    for _ in OFTEN:
        events = stream(model)
        assert await shown(events) == "one"
        assert sockets() == before + 2  # both ends of the connection
        await events.aclose()

        assert sockets() <= before + 1
        await hung_up(fake_ollama)
    assert len(fake_ollama.disconnects) == len(OFTEN)


async def test_an_abandoned_stream_hangs_up_when_it_is_collected(fake_ollama, model, endless):
    endless(WITHIN_THE_ANSWER)
    for _ in OFTEN:
        events = stream(model)
        await shown(events)
        del events
        gc.collect(0)

        await hung_up(fake_ollama)
    assert len(fake_ollama.disconnects) == len(OFTEN)


@EVERYWHERE
@pytest.mark.parametrize("ask", [whole, read_all])
async def test_a_task_cancelled_twice_hangs_up(fake_ollama, model, endless, after, ask):
    endless(after)
    for count in OFTEN:
        task = asyncio.ensure_future(ask(model))
        await asked(fake_ollama, count + 1)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        await hung_up(fake_ollama)
    assert len(fake_ollama.disconnects) == len(OFTEN)


@EVERYWHERE
async def test_a_task_cancelled_at_any_step_hangs_up(fake_ollama, provider, endless, after):
    """Also while it connects, when the library below cancels and uncancels the same task."""
    endless(after)
    for steps in OFTEN:
        task = asyncio.create_task(whole(provider.get_model("m")))
        for _ in range(steps % 50):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

        await hung_up(fake_ollama)


@EVERYWHERE
def test_a_loop_that_ends_hangs_up(fake_ollama, provider, endless, after):
    endless(after)

    async def leave_a_task_behind(count):
        task = asyncio.create_task(whole(provider.get_model("m")))
        await asked(fake_ollama, count)
        return task

    for count in OFTEN:
        task = asyncio.run(leave_a_task_behind(count + 1))

        assert task.cancelled()
        fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)
    assert len(fake_ollama.disconnects) == len(OFTEN)


def test_a_loop_that_ends_hangs_up_on_a_stream_somebody_still_holds(fake_ollama, provider, endless):
    endless(WITHIN_THE_ANSWER)
    kept = []

    async def leave_a_stream_behind():
        kept.append(stream(provider.get_model("m")))
        await shown(kept[-1])

    for _ in OFTEN:
        asyncio.run(leave_a_stream_behind())
        fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)
    assert len(fake_ollama.disconnects) == len(OFTEN)


def test_a_loop_that_only_closes_its_generators_hangs_up(fake_ollama, provider, endless):
    endless(WITHIN_THE_ANSWER)
    loop = asyncio.new_event_loop()
    kept = stream(provider.get_model("m"))
    loop.run_until_complete(shown(kept))

    loop.run_until_complete(loop.shutdown_asyncgens())

    assert asyncio.all_tasks(loop) == set()
    loop.close()
    fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)


async def test_a_provider_that_is_dropped_leaves_no_connection_and_no_warning(fake_ollama, run):
    """One provider for each request of a web server, say, and they are never closed."""
    fake_ollama.reply("Hi!", times=None)
    for _ in range(30):
        provider = OllamaModelProvider(base_url=fake_ollama.url)
        await run(Agent("a", model=provider.get_model("m")), "Hi")
    del provider
    gc.collect()

    await hung_up(fake_ollama)
    assert len(fake_ollama.chats) == 30


@pytest.mark.parametrize("in_use", [False, True])
def test_a_provider_that_is_dropped_as_its_loop_ends_leaves_no_task(
    fake_ollama, run, in_use, caplog
):
    fake_ollama.reply("Hi!", times=None)

    async def main():
        provider = OllamaModelProvider(base_url=fake_ollama.url)
        await run(Agent("a", model=provider.get_model("m")), "Hi")
        del provider
        gc.collect()
        if in_use:
            await asyncio.sleep(0)

    asyncio.run(main())
    gc.collect()

    fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)
    assert not caplog.records


async def test_a_provider_that_is_dropped_in_another_thread_leaves_no_connection(fake_ollama, run):
    fake_ollama.reply("Hi!", times=None)
    providers = [OllamaModelProvider(base_url=fake_ollama.url)]
    await run(Agent("a", model=providers[0].get_model("m")), "Hi")

    def drop():
        providers.clear()
        gc.collect()

    await asyncio.to_thread(drop)

    await hung_up(fake_ollama)


async def test_closing_the_provider_breaks_off_what_is_under_way(fake_ollama, provider, endless):
    endless(WITHIN_THE_ANSWER)
    events = stream(provider.get_model("m"))
    await shown(events)

    await provider.aclose()

    last = [event async for event in events][-1]
    assert last.type == "response.failed"
    assert "provider or its event loop was closed" in last.response.error.message
    await hung_up(fake_ollama)


async def test_nothing_is_asked_before_the_stream_is_read(fake_ollama, model):
    events = stream(model)
    await events.aclose()

    assert fake_ollama.requests == []


# Silence


@pytest.mark.parametrize(("after", "phase"), [(0, "first_byte"), (1, "idle")])
async def test_silence_ends_in_an_error_that_names_its_phase(fake_ollama, after, phase):
    fake_ollama.reply("one two three", fault=Stall(after))
    provider = OllamaModelProvider(base_url=fake_ollama.url, timeout={phase: 0.5})

    with pytest.raises(OllamaTimeoutError, match=phase) as caught:
        await whole(provider.get_model("m"))

    assert (caught.value.phase, caught.value.seconds) == (phase, 0.5)
    await fake_ollama.disconnected(SOON)


@pytest.mark.parametrize(
    "limits", [0.1, {"connect": 0.1}, {"connect": 0.1, "first_byte": 0.05}], ids=str
)
async def test_a_connection_that_does_not_stand_in_time_is_an_error_of_its_own(
    deaf_address, limits
):
    host, port = deaf_address
    provider = OllamaModelProvider(base_url=f"http://{host}:{port}", timeout=limits)

    with pytest.raises(OllamaTimeoutError, match="No connection to http://127") as caught:
        await whole(provider.get_model("m"))

    assert (caught.value.phase, caught.value.seconds) == ("connect", 0.1)


async def test_giving_up_does_not_wait_for_a_connection(deaf_address):
    host, port = deaf_address
    limits = {"connect": None, "first_byte": None, "idle": None}
    model = OllamaModelProvider(base_url=f"http://{host}:{port}", timeout=limits).get_model("m")
    agent = Agent("a", model=model, model_settings=ModelSettings(timeout=0.1))

    async with asyncio.timeout(SOON):
        with pytest.raises(ModelTimeoutError):
            await Runner.run(agent, "Hi")


# Loops and threads


def test_three_loops_in_three_threads_share_one_provider(fake_ollama, provider):
    fake_ollama.reply("Hi!", times=30)
    together = threading.Barrier(3)
    outcomes = []

    async def talk():
        agent = Agent("a", model=provider.get_model("m"))
        together.wait(10)
        for _ in range(5):
            outcomes.append((await Runner.run(agent, "Hi")).final_output)
            result = Runner.run_streamed(agent, "Hi")
            async for _ in result.stream_events():
                pass
            outcomes.append(result.final_output)

    threads = [threading.Thread(target=lambda: asyncio.run(talk())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert outcomes == ["Hi!"] * 30
    fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)


async def test_a_closed_provider_opens_again(fake_ollama, provider, run):
    fake_ollama.reply("Hi!", times=2)
    agent = Agent("a", model=provider.get_model("m"))

    await run(agent, "Hi")
    await provider.aclose()
    await hung_up(fake_ollama)
    await provider.aclose()
    await run(agent, "Hi")

    assert fake_ollama.open_connections == 1


async def test_calls_one_after_another_use_one_connection(fake_ollama, model, run, connects):
    fake_ollama.reply("Hi!", times=5)
    for _ in range(5):
        await run(Agent("a", model=model), "Hi")
        await ran_out(model)

    assert len(connects) == 1


async def test_a_server_that_was_restarted_is_connected_to_again(fake_ollama, model, run):
    fake_ollama.reply("Hi!", times=2)
    await run(Agent("a", model=model), "Hi")
    await asyncio.to_thread(fake_ollama.refuse)
    with pytest.raises(OllamaConnectionError, match="Cannot reach Ollama at http://127"):
        await whole(model)
    fake_ollama.accept()

    assert (await run(Agent("a", model=model), "Hi")).final_output == "Hi!"


async def test_sixty_four_streams_run_at_once(fake_ollama, model, run, connects):
    everyone_is_here = Stall(1)
    fake_ollama.reply("one two three", times=64, fault=everyone_is_here)
    agent = Agent("a", model=model)

    async def open_the_gate():
        await asked(fake_ollama, 64)
        everyone_is_here.release()

    *results, _ = await asyncio.gather(*(run(agent, "Hi") for _ in range(64)), open_the_gate())

    assert {result.final_output for result in results} == {"one two three"}
    assert len(connects) == 64


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


# After the last line


async def test_a_body_that_ends_gives_its_connection_back(fake_ollama, model, run):
    ending = Stall(4)
    fake_ollama.reply("one two three", fault=ending)
    agent = Agent("a", model=model)

    first = asyncio.create_task(run(agent, "Hi"))
    await ending.reached()
    ending.release()
    assert (await first).final_output == "one two three"
    fake_ollama.reply("again")
    await run(agent, "Hi")

    assert fake_ollama.open_connections == 1
    assert not fake_ollama.disconnects


async def test_a_server_that_stalls_after_the_last_line_is_left(
    fake_ollama, model, run, monkeypatch
):
    monkeypatch.setattr(exchange, "_DRAIN_SECONDS", 0.05)
    fake_ollama.reply("one two three", fault=Stall(4))

    assert (await run(Agent("a", model=model), "Hi")).final_output == "one two three"
    await hung_up(fake_ollama)


def test_a_synchronous_run_leaves_no_task_in_its_loop(fake_ollama, model, own_loop, caplog):
    """It closes the generators of the thread's loop, which goes on, and cancels nothing."""
    fake_ollama.reply("one two three", fault=Stall(4))

    assert Runner.run_sync(Agent("a", model=model), "Hi").final_output == "one two three"

    assert asyncio.all_tasks(asyncio.get_event_loop_policy().get_event_loop()) == set()
    assert not caplog.records
    fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)


async def test_a_server_that_talks_on_after_the_last_line_is_left(
    fake_ollama, model, run, monkeypatch
):
    monkeypatch.setattr(exchange, "_DRAIN_SECONDS", 0.05)
    said = {"message": {"role": "assistant", "content": "x" * 1000}, "done": False}
    done = {"message": {"role": "assistant", "content": "end"}, "done": True}
    fake_ollama.reply(chunks=itertools.chain([done], itertools.repeat(said)))

    assert (await run(Agent("a", model=model), "Hi")).final_output == "end"
    await fake_ollama.disconnected(SOON)


async def ran_out(model):
    """Every body under way has ended."""
    tasks = [each._task for each in model._source._client.exchanges]
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=SOON)
        assert not pending


# A slow reader


async def test_a_slow_reader_slows_the_server_down_and_loses_nothing(fake_ollama, model):
    megabyte, total = "x" * 1_000_000, 80
    sent = itertools.count()

    def pieces():
        for _ in range(total):
            next(sent)
            yield megabyte

    fake_ollama.reply(pieces=pieces(), model="m")
    fake_ollama.reply("meanwhile", times=20, model="n")
    events = stream(model)
    length = len(await shown(events))

    other = OllamaModelProvider(base_url=fake_ollama.url).get_model("n")
    for _ in range(20):  # both sides have every chance to go on
        await whole(other)
    assert next(sent) < total / 2  # what the buffers of both sides hold is far less

    async for event in events:
        if event.type == "response.output_text.delta":
            length += len(event.delta)
    assert length == total * len(megabyte)


async def test_a_slow_reader_is_no_silence_of_the_server(fake_ollama):
    fake_ollama.reply(pieces=["x" * 3_000_000] * 3)
    provider = OllamaModelProvider(base_url=fake_ollama.url, timeout={"idle": 0.5})
    events = stream(provider.get_model("m"))
    await shown(events)

    pause = asyncio.Event()
    asyncio.get_running_loop().call_later(0.7, pause.set)  # longer than the limit
    await pause.wait()

    assert [event async for event in events][-1].type == "response.completed"


# Nothing is left


def descriptors():
    return len(list(DESCRIPTORS.iterdir()))


def sockets():
    return sum(entry.is_socket() for entry in DESCRIPTORS.iterdir())


async def test_many_runs_leave_no_descriptor_no_task_and_no_warning(fake_ollama):
    """Runs of agents and calls of models, finished, abandoned and cancelled, on each transport."""
    fake_ollama.reply("one two three", times=None)
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    agent = Agent("a", model=provider.get_model("m"))

    async def run():
        await Runner.run(agent, "Hi")

    async def run_streamed():
        async for _ in Runner.run_streamed(agent, "Hi").stream_events():
            pass

    async def finished():
        await whole(provider.get_model("m"))

    async def abandoned():
        await shown(stream(provider.get_model("m")))

    async def cancelled():
        task = asyncio.create_task(whole(provider.get_model("m")))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    ways = (run, run_streamed, finished, abandoned, cancelled)
    for way in ways:
        await way()
    await quiet(fake_ollama, provider)
    before, tasks = descriptors(), len(asyncio.all_tasks())

    for _ in range(30):
        for way in ways:
            await way()
    assert fake_ollama.open_connections < 10
    await quiet(fake_ollama, provider)

    assert descriptors() <= before
    assert len(asyncio.all_tasks()) == tasks


async def quiet(fake, provider):
    """Nothing is under way and no connection is kept."""
    gc.collect()
    await ran_out(provider.get_model("m"))
    await provider.aclose()
    await hung_up(fake)


def test_many_loops_leave_no_descriptor_and_no_warning(fake_ollama, provider, run):
    fake_ollama.reply("Hi!", times=None)
    agent = Agent("a", model=provider.get_model("m"))
    asyncio.run(run(agent, "Hi"))
    gc.collect()
    before = descriptors()

    for _ in range(20):
        asyncio.run(run(agent, "Hi"))
    gc.collect()
    fake_ollama.wait_until(lambda: not fake_ollama.open_connections, SOON)

    assert descriptors() <= before
    assert len(provider.wire()._client._per_loop._opened) == 0
