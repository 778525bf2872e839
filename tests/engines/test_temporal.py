"""Temporal on a real server: what an error means there, and what a killed worker costs."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from email.utils import formatdate
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from tests.engines.scripts import STEPS, notes, ollama_works, openai_works
from tests.engines.servers import SOON
from tests.engines.temporal_worker import connect, worker
from tests.engines.workflows import Ask, FailsAs, NeverEnds, ReadsTheEnvironment, Streamed, Work
from timestep import MultiModelProvider
from timestep.errors.meaning import MEANINGS
from timestep.testing import NoDone

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[2]


class Engine:
    """A client and a worker in this process, with a queue of their own."""

    def __init__(self, client):
        self.client = client
        self.queue = str(uuid.uuid4())

    async def start(self, workflow, *args):
        return await self.client.start_workflow(
            workflow.run, *args, id=str(uuid.uuid4()), task_queue=self.queue
        )

    async def result(self, workflow, *args):
        """What the workflow returns, within reason."""
        handle = await self.start(workflow, *args)
        return await asyncio.wait_for(handle.result(), SOON)

    async def error(self, workflow, *args):
        """The error that the workflow failed with: its innermost error of an application."""
        with pytest.raises(WorkflowFailureError) as raised:
            await self.result(workflow, *args)
        error = raised.value.cause
        while not isinstance(error, ApplicationError):
            error = error.cause
        return error

    async def repeated_after(self, workflow, *args):
        """The workflow's result, with what its first activity failed with before that."""
        handle = await self.start(workflow, *args)
        result = await asyncio.wait_for(handle.result(), SOON)
        history = await handle.fetch_history()
        started = [
            event.activity_task_started_event_attributes
            for event in history.events
            if event.HasField("activity_task_started_event_attributes")
        ]
        assert started[0].attempt == 2
        return result, started[0].last_failure.application_failure_info


@pytest.fixture
def engine(temporal, fake_ollama, openai_server, monkeypatch):
    """`Engine` as a context, built from the environment as an application would."""
    for name, value in {
        "OLLAMA_HOST": fake_ollama.url,
        "TIMESTEP_PROVIDERS__LAB__KIND": "openai",
        "TIMESTEP_PROVIDERS__LAB__BASE_URL": openai_server.base_url,
        "TIMESTEP_PROVIDERS__TOLD__KIND": "openai",
        "TIMESTEP_PROVIDERS__TOLD__API": "responses",
        "TIMESTEP_PROVIDERS__TOLD__BASE_URL": openai_server.base_url,
        "TIMESTEP_ALIASES__CHAIN": "ollama/down,lab/m",
        "NOTES": "notes",
    }.items():
        monkeypatch.setenv(name, value)

    @contextlib.asynccontextmanager
    async def running():
        engine = Engine(await connect(temporal, MultiModelProvider.from_env()))
        async with worker(engine.client, engine.queue):
            yield engine

    return running


async def test_tools_run_as_activities_on_ollama(engine, fake_ollama):
    fake_ollama.reply(ollama_works, times=STEPS + 1)

    async with engine() as running:
        assert await running.result(Work, "ollama/m") == "all done"

    assert notes() == list(range(1, STEPS + 1))


async def test_tools_run_as_activities_on_an_openai_server(engine, openai_server):
    openai_server.answers = openai_works

    async with engine() as running:
        assert await running.result(Work, "lab/m") == "all done"

    assert notes() == list(range(1, STEPS + 1))
    assert len(openai_server.requests) == STEPS + 1


@pytest.mark.parametrize("model", ["ollama/m", "lab/m", "told/m"])
async def test_a_streamed_run_shows_its_pieces(engine, fake_ollama, model):
    if model == "ollama/m":
        fake_ollama.reply("hello", pieces=["he", "llo"])

    async with engine() as running:
        shown = await running.result(Streamed, model)

    assert shown.replace("><", "") == "<hello> hello"


async def test_a_chain_asks_its_second_model(engine, fake_ollama, openai_server):
    fake_ollama.fail(503, "busy", model="down")

    async with engine() as running:
        assert await running.result(Ask, "chain") == "hello"

    assert len(openai_server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("OllamaStatusError", (400, "invalid options")),
        ("ContextWindowExceededError", (400, "the input exceeds the context length")),
        ("CapabilityError", (400, '"m" does not support tools')),
        ("AuthenticationError", (401, "unauthorized")),
        ("ModelNotFoundError", (404, "model 'm' not found")),
        ("RateLimitError", (429, "you have reached your weekly usage limit")),
    ],
)
async def test_what_the_caller_must_mend_fails_at_once(engine, fake_ollama, kind, failure):
    fake_ollama.fail(*failure)

    async with engine() as running:
        error = await running.error(Ask, "ollama/m")

    assert (error.type, error.non_retryable) == (kind, True)
    assert len(fake_ollama.chats) == 1


@pytest.mark.parametrize(
    ("model", "kind"),
    [("nope/m", "UnknownModelError"), ("gpt-4.1", "ConfigurationError")],
)
async def test_a_model_that_cannot_be_reached_by_its_name_fails_at_once(engine, model, kind):
    async with engine() as running:
        error = await running.error(Ask, model)

    assert (error.type, error.non_retryable) == (kind, True)


@pytest.mark.parametrize("model", ["lab/m", "told/m"])
@pytest.mark.parametrize(("status", "kind"), [(400, None), (401, "AuthenticationError")])
async def test_an_openai_servers_refusal_fails_at_once(engine, openai_server, model, status, kind):
    openai_server.failure = status, "no"

    async with engine() as running:
        error = await running.error(Ask, model)

    assert error.non_retryable
    assert kind in {None, error.type}
    assert len(openai_server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("ServerBusyError", (503, "server busy, please try again")),
        ("RateLimitError", (429, "too many requests")),
    ],
)
async def test_what_passes_comes_back_after_the_wait(engine, fake_ollama, kind, failure):
    fake_ollama.fail(*failure, headers={"Retry-After": "2"})
    fake_ollama.reply("hello")

    async with engine() as running:
        result, told = await running.repeated_after(Ask, "ollama/m")

    assert result == "hello"
    assert (told.type, told.next_retry_delay.seconds) == (kind, 2)
    assert len(fake_ollama.chats) == 2


async def test_a_broken_answer_is_asked_for_again(engine, fake_ollama):
    fake_ollama.reply("hel", fault=NoDone())
    fake_ollama.reply("hello")

    async with engine() as running:
        result, told = await running.repeated_after(Ask, "ollama/m")

    assert (result, told.type) == ("hello", "OllamaStreamError")


async def test_a_stream_that_broke_off_is_asked_for_again(engine, fake_ollama):
    fake_ollama.reply("hel", pieces=["h", "el"], fault=NoDone())
    fake_ollama.reply("hello", pieces=["hello"])

    async with engine() as running:
        result, told = await running.repeated_after(Streamed, "ollama/m")

    assert (result, told.type) == ("<hello> hello", "ModelBehaviorError")


@pytest.mark.parametrize("is_date", [False, True])
@pytest.mark.parametrize("model", ["lab/m", "told/m"])
async def test_an_openai_server_is_asked_once_for_each_attempt(
    engine, openai_server, model, is_date
):
    def answers(_):
        if len(openai_server.requests) > 1:
            return None
        # The date is still ahead when a busy machine reads it.
        wait = formatdate(time.time() + 20, usegmt=True) if is_date else "2"
        openai_server.answer_headers = {"Retry-After": wait}
        return 429, {"error": {"message": "slow down"}}

    openai_server.answers = answers

    async with engine() as running:
        result, told = await running.repeated_after(Ask, model)

    assert result == "hello"
    assert told.type == "RateLimitError"
    assert told.HasField("next_retry_delay")
    assert is_date or told.next_retry_delay.seconds == 2
    assert len(openai_server.requests) == 2


async def test_every_class_of_error_means_what_the_table_says(engine):
    async with engine() as running:

        async def outcome(name):
            try:
                return await running.result(FailsAs, name)
            except WorkflowFailureError as failed:
                error = failed.cause.cause
                return error.type, error.non_retryable

        names = [kind.__name__ for kind in MEANINGS]
        outcomes = dict(zip(names, await asyncio.gather(*map(outcome, names)), strict=True))

    assert outcomes == {
        name: "came back" if meaning.passes else (name, True)
        for name, meaning in zip(names, MEANINGS.values(), strict=True)
    }


async def test_an_error_of_the_sdk_ends_the_workflow(engine, fake_ollama):
    fake_ollama.reply(ollama_works)

    async with engine() as running:
        assert (await running.error(NeverEnds, "ollama/m")).type == "MaxTurnsExceeded"


async def test_a_workflow_is_told_where_from_env_belongs(engine):
    async with engine() as running:
        error = await running.error(ReadsTheEnvironment)

    assert error.type == "ConfigurationError"
    assert "OpenAIAgentsPlugin(model_provider=...)" in error.message


@contextlib.contextmanager
def worker_process(address, queue):
    command = [sys.executable, "-m", "tests.engines.temporal_worker", address, queue]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTES": str(Path("notes").absolute())}
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_a_killed_worker_loses_nothing_and_runs_no_tool_twice(temporal, engine, fake_ollama):
    killed = []

    def answer(request):
        if len(fake_ollama.chats) == STEPS // 2 and not killed:
            killed.append(processes[0].pid)
            os.kill(killed[0], signal.SIGKILL)
        return ollama_works(request)

    fake_ollama.reply(answer, times=STEPS + 2)
    client = Engine(await connect(temporal, None))
    with worker_process(temporal, client.queue) as first:
        processes = [first]
        handle = await client.start(Work, "ollama/m")
        await asyncio.to_thread(first.wait, SOON)
        with worker_process(temporal, client.queue):
            assert await asyncio.wait_for(handle.result(), SOON) == "all done"

    assert killed
    assert notes() == list(range(1, STEPS + 1))
