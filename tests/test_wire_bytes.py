"""What `timestep.net.wire_bytes` keeps, and that a call without it costs nothing more."""

import pytest
from agents import Agent, RunConfig, Runner, function_tool, set_trace_processors
from pydantic import BaseModel

from tests.spans import Spans
from timestep.errors import OllamaStatusError
from timestep.net import wire_bytes
from timestep.ollama.provider import OllamaModelProvider


@pytest.fixture
def keeping():
    wire_bytes.keep()
    yield
    wire_bytes.stop()


@pytest.fixture
def spans():
    processor = Spans(
        lambda span: wire_bytes.take(span.span_id),
        only=lambda span: span.span_data.type == "generation",
    )
    set_trace_processors([processor])
    yield processor
    set_trace_processors([])


async def ask(fake, *, include=True):
    provider = OllamaModelProvider(base_url=fake.url)
    config = RunConfig(model_provider=provider, trace_include_sensitive_data=include)
    await Runner.run(Agent(name="a", model="m"), "hi", run_config=config)


def test_nothing_is_kept_that_was_not_asked_for():
    assert wire_bytes.begin("span_1") is None
    assert wire_bytes.take("span_1") == []


def test_what_is_taken_is_forgotten(keeping):
    first, second = wire_bytes.begin("span_1"), wire_bytes.begin("span_1")

    assert wire_bytes.take("span_1") == [first, second]
    assert wire_bytes.take("span_1") == []


def test_calls_that_are_not_taken_make_room_for_later_ones(keeping):
    for number in range(300):
        wire_bytes.begin(f"span_{number}")

    assert wire_bytes.take("span_0") == []
    assert len(wire_bytes.take("span_299")) == 1


def test_the_last_who_stops_ends_the_keeping(keeping):
    wire_bytes.keep()
    wire_bytes.stop()
    assert wire_bytes.begin("span_1") is not None


async def test_a_call_keeps_the_bytes_that_went_over_the_wire(fake_ollama, spans, keeping):
    fake_ollama.reply("Grüße")

    await ask(fake_ollama)

    [[kept]] = spans.ended
    assert kept.request == fake_ollama.requests[-1].body
    assert kept.url == f"{fake_ollama.url}/api/chat"
    assert kept.status == 200
    assert "Grüße" in b"".join(kept.response).decode()
    assert b'"done":true' in b"".join(kept.response)


async def test_a_refusal_is_kept_too(fake_ollama, spans, keeping):
    fake_ollama.fail(500, "out of memory")

    with pytest.raises(OllamaStatusError):
        await ask(fake_ollama)

    [[kept]] = spans.ended
    assert kept.status == 500
    assert b"".join(kept.response) == b'{"error":"out of memory"}'


async def test_withheld_content_is_not_kept(fake_ollama, spans, keeping):
    fake_ollama.reply("secret")

    await ask(fake_ollama, include=False)

    assert spans.ended == [[]]


class Answer(BaseModel):
    value: int


@function_tool
def look_up() -> str:
    return "nothing"


async def test_a_repair_is_a_second_exchange(fake_ollama, spans, keeping):
    fake_ollama.reply("no JSON")
    fake_ollama.reply('{"value": 3}')
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    agent = Agent(name="a", model="m", output_type=Answer, tools=[look_up])

    await Runner.run(agent, "hi", run_config=RunConfig(model_provider=provider))

    [[first, second]] = spans.ended
    assert first.request == fake_ollama.requests[-2].body
    assert second.request == fake_ollama.requests[-1].body
