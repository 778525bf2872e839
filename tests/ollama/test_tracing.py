"""What a model call leaves on its span."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from agents import (
    Agent,
    ModelSettings,
    ModelTracing,
    RunConfig,
    Runner,
    function_tool,
    set_trace_processors,
    trace,
)
from pydantic import BaseModel

import timestep
from tests.spans import Spans
from timestep import ServerBusyError
from timestep.testing import Stall


class Recorder(Spans):
    def __init__(self):
        super().__init__(lambda span: span.export())

    @property
    def generations(self):
        return [span for span in self.ended if span["span_data"]["type"] == "generation"]


@pytest.fixture
def recorder():
    recorder = Recorder()
    set_trace_processors([recorder])
    yield recorder
    set_trace_processors([])


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


async def test_every_call_has_a_generation_span_with_all_it_cost(fake_ollama, model, run, recorder):
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Paris"})], prompt_eval_count=11)
    fake_ollama.reply("sunny", prompt_eval_count=20, eval_count=3)

    await run(Agent("a", model=model, tools=[get_weather]), "secret question")

    first, second = [span["span_data"] for span in recorder.generations]
    assert first["model"] == "m"
    assert first["input"][-1]["content"] == "secret question"
    assert "get_weather" in repr(first["output"])
    assert first["usage"]["input_tokens"] == 11
    assert (second["usage"]["input_tokens"], second["usage"]["output_tokens"]) == (20, 3)
    assert second["model_config"]["base_url"] == fake_ollama.url
    assert second["model_config"]["first_token_seconds"] >= 0
    assert second["model_config"]["durations_ns"]["total_duration"] > 0


async def test_withheld_data_stays_off_the_span_and_usage_stays_on(
    fake_ollama, model, run, recorder
):
    fake_ollama.reply("secret answer", eval_count=3)
    config = RunConfig(trace_include_sensitive_data=False)

    await run(Agent("a", model=model), "secret question", run_config=config)

    (span,) = recorder.generations
    assert span["span_data"]["usage"]["output_tokens"] == 3
    assert "secret" not in repr(recorder.ended)


async def test_a_failure_is_on_its_span(fake_ollama, model, run, recorder):
    fake_ollama.fail(503, "busy with the secret")

    with pytest.raises(ServerBusyError):
        await run(Agent("a", model=model), "hi")

    (span,) = recorder.generations
    assert "ServerBusyError" in span["error"]["data"]["error"]


async def test_a_withheld_failure_says_only_its_class(fake_ollama, model, run, recorder):
    fake_ollama.fail(503, "busy with the secret")
    config = RunConfig(trace_include_sensitive_data=False)

    with pytest.raises(ServerBusyError):
        await run(Agent("a", model=model), "hi", run_config=config)

    (span,) = recorder.generations
    assert span["error"]["data"] == {
        "type": "ServerBusyError",
        "error": "Error details are redacted.",
    }


async def test_a_reader_that_stops_at_completed_still_leaves_the_usage(
    fake_ollama, model, recorder
):
    fake_ollama.reply("hi", eval_count=2)
    with trace("t"):
        stream = model.stream_response(
            None, "hi", ModelSettings(), [], None, [], ModelTracing.ENABLED
        )
        async for event in stream:
            if event.type == "response.completed":
                break
        await stream.aclose()

    (span,) = recorder.generations
    assert span["span_data"]["usage"]["output_tokens"] == 2


async def test_a_reader_that_leaves_early_is_on_the_span(fake_ollama, model, recorder):
    fake_ollama.reply("one two three", fault=Stall(2))
    with trace("t"):
        stream = model.stream_response(
            None, "hi", ModelSettings(), [], None, [], ModelTracing.ENABLED
        )
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.aclose()

    (span,) = recorder.generations
    assert span["error"]["data"]["error"] == "abandoned"


async def test_a_repair_is_on_the_span_and_in_the_usage(fake_ollama, model, run, recorder):
    class City(BaseModel):
        name: str

    fake_ollama.reply("Paris, of course", prompt_eval_count=10, eval_count=4)
    fake_ollama.reply('{"name": "Paris"}', prompt_eval_count=30, eval_count=6)

    result = await run(Agent("a", model=model, output_type=City), "Where?")

    (span,) = recorder.generations
    assert result.final_output == City(name="Paris")
    assert span["span_data"]["model_config"]["repaired"] is True
    assert span["span_data"]["usage"]["requests"] == 2
    assert span["span_data"]["usage"]["input_tokens"] == 40
    assert "Paris, of course" in repr(span["span_data"]["input"])
    usage = result.context_wrapper.usage
    assert (usage.input_tokens, usage.output_tokens) == (40, 10)


async def test_calls_that_were_dropped_are_on_the_span(fake_ollama, model, run, recorder):
    call = ("get_weather", {"city": "Paris"})
    fake_ollama.reply(tool_calls=[call, call])
    fake_ollama.reply("sunny")
    settings = ModelSettings(parallel_tool_calls=False)

    await run(Agent("a", model=model, tools=[get_weather], model_settings=settings), "hi")

    config = recorder.generations[0]["span_data"]["model_config"]
    assert config["dropped_calls"] == 1


async def test_what_was_left_out_of_the_request_is_on_the_span(fake_ollama, model, run, recorder):
    fake_ollama.reply("hi")
    settings = ModelSettings(store=True, metadata={"ticket": "secret"})
    config = RunConfig(trace_include_sensitive_data=False)

    await run(Agent("a", model=model, model_settings=settings), "hi", run_config=config)

    config = recorder.generations[0]["span_data"]["model_config"]
    assert "store" in config["ignored"]
    assert "metadata" not in config


async def test_what_the_server_does_not_enforce_of_a_tool_is_on_the_span(
    fake_ollama, model, run, recorder
):
    fake_ollama.reply("hi")

    await run(Agent("a", model=model, tools=[get_weather]), "hi")

    note = "tool 'get_weather': the server does not enforce schema: additionalProperties"
    assert note in recorder.generations[0]["span_data"]["model_config"]["ignored"]


async def test_a_disabled_trace_records_nothing(fake_ollama, model, run, recorder):
    fake_ollama.reply("hi")

    await run(Agent("a", model=model), "hi", run_config=RunConfig(tracing_disabled=True))

    assert recorder.ended == []


async def test_a_cancelled_call_says_so_on_its_span(fake_ollama, model, recorder):
    stall = Stall(after=1)
    fake_ollama.reply(pieces=["a", "b"], fault=stall)
    task = asyncio.create_task(Runner.run(Agent("a", model=model), "hi"))
    await stall.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    (span,) = recorder.generations
    assert span["error"]["data"]["error"] == "cancelled"


def test_importing_timestep_changes_no_tracing():
    code = (
        "import agents, agents.tracing as t\n"
        "before = list(t.get_trace_provider()._multi_processor._processors)\n"
        "import timestep\n"
        "[getattr(timestep, name) for name in timestep.__all__]\n"
        "assert list(t.get_trace_provider()._multi_processor._processors) == before\n"
    )

    root = Path(timestep.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240, env=environment)
