"""A store in the test's directory, runs made by hand, and real runs against the test server."""

import itertools
import json
import threading
from pathlib import Path

import pytest
import uvicorn
from agents import Agent, RunConfig, Runner, function_tool

from timestep.ollama.provider import OllamaModelProvider
from timestep.traces import TraceStore, install, uninstall
from timestep.traces.records import SpanEnded, SpanStarted, TraceEnded, TraceStarted
from timestep.traces.viewer.app import build_app


@pytest.fixture(autouse=True)
def this_tree(monkeypatch):
    """Processes of the tests import this tree, installed or not."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def store(tmp_path):
    with TraceStore(tmp_path / "traces.db") as store:
        yield store


@pytest.fixture
def installed(tmp_path):
    """The store that every run of the test is recorded in."""
    store = install(tmp_path / "traces.db")
    yield store
    uninstall()


@pytest.fixture
def viewer(store):
    """The viewer of the test's store on a port of its own; its URL."""
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(store),
            port=0,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


_NUMBERS = itertools.count(1)


def run_events(name="run", *, at=1000.0, model="m", tool="get_weather", text="hello", **fields):
    """The events of a small run: an agent, a generation and a tool call in it."""
    number = next(_NUMBERS)
    trace, agent, call, use = (f"{kind}_{number:08d}" for kind in ("trace", "agent", "call", "use"))
    return [
        TraceStarted(trace, name, fields.get("group"), fields.get("metadata"), at),
        SpanStarted(agent, trace, None, "agent", "helper", at + 0.1),
        SpanStarted(call, trace, agent, "generation", model, at + 0.2),
        SpanEnded(
            call,
            trace,
            "generation",
            model,
            at + 1.2,
            fields.get("error"),
            json.dumps({"type": "generation", "output": [{"content": text}]}),
            text=text,
            model=model,
            input_tokens=10,
            output_tokens=5,
            output_seconds=0.5,
            total_seconds=1.0,
            exchanges=fields.get("exchanges", ()),
        ),
        SpanStarted(use, trace, agent, "function", tool, at + 1.3),
        SpanEnded(use, trace, "function", tool, at + 1.4, None, '{"input": "{}", "output": "x"}'),
        SpanEnded(agent, trace, "agent", "helper", at + 1.5, None, "{}"),
        TraceEnded(trace, at + 1.6),
    ]


@pytest.fixture
def record(store):
    """Write a run made by `run_events`; its id."""

    def write(name="run", **fields):
        events = run_events(name, **fields)
        store.write(events)
        return events[0].trace_id

    return write


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


@pytest.fixture
def run_weather(fake_ollama, installed):
    """Run an agent that asks for the weather, against the test server; the recorded run."""

    async def run(city="Oslo", answer="It is sunny.", **config):
        fake_ollama.reply(tool_calls=[("get_weather", {"city": city})], thinking="Look it up.")
        fake_ollama.reply(answer)
        provider = OllamaModelProvider(base_url=fake_ollama.url, options={"num_ctx": 4096})
        await Runner.run(
            Agent(name="forecaster", model="m", tools=[get_weather], instructions="Be brief."),
            f"How is the weather in {city}?",
            run_config=RunConfig(model_provider=provider, **config),
        )
        installed.flush()
        return installed.get("last")

    return run
