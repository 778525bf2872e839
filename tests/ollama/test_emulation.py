"""Whole agent runs on a model that knows no tools."""

import json

import pytest
from agents import Agent, ModelSettings, RunConfig, function_tool
from pydantic import BaseModel

from timestep import CapabilityError, ModelOutputError, OllamaModelProvider

QUIET = RunConfig(tracing_disabled=True)


class Forecast(BaseModel):
    city: str
    sunny: bool


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


def written(name, **arguments):
    """A call as such a model writes it."""
    return json.dumps({"name": name, "arguments": arguments})


@pytest.fixture
def plain(fake_ollama):
    """A model that can do nothing but complete text."""
    fake_ollama.add_model("plain", capabilities=["completion"])
    return OllamaModelProvider(base_url=fake_ollama.url, tool_emulation=True).get_model("plain")


def offered(chat):
    """The names in the schema that the answer has to match."""
    branches = chat["format"].get("anyOf", [chat["format"]])
    return [branch["properties"].get("name", {}).get("const", "answer") for branch in branches]


async def test_calls_results_a_handoff_and_an_answer_are_all_text(fake_ollama, plain, run):
    fake_ollama.reply(written("get_weather", city="Paris"))
    fake_ollama.reply(written("transfer_to_writer"))
    fake_ollama.reply("All sunny.")
    writer = Agent("writer", instructions="Write.", model=plain)
    guide = Agent("guide", model=plain, tools=[get_weather], handoffs=[writer])

    result = await run(guide, "Weather in Paris?", run_config=QUIET)

    assert (result.final_output, result.last_agent.name) == ("All sunny.", "writer")
    first, second, third = fake_ollama.chats
    assert offered(first) == ["get_weather", "transfer_to_writer", "answer"]
    assert "get_weather: The weather in a city." in first["messages"][0]["content"]
    assert second["messages"][-1]["content"] == "Result of get_weather: Paris: sunny"
    assert json.loads(second["messages"][-2]["content"]) == {
        "name": "get_weather",
        "arguments": {"city": "Paris"},
    }
    assert "format" not in third
    for chat in fake_ollama.chats:
        assert "tools" not in chat
        assert {message["role"] for message in chat["messages"]} <= {"system", "user", "assistant"}


async def test_the_answer_is_streamed_out_of_its_json(fake_ollama, plain, run):
    answer = 'Two "words"\nand é😀'
    fake_ollama.reply(json.dumps({"answer": answer}))

    result = await run(Agent("a", model=plain, tools=[get_weather]), "Hi", run_config=QUIET)

    assert result.final_output == answer
    deltas = [e.delta for e in run.events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == (answer if run.is_streamed else "")
    assert len(deltas) > 3 or not run.is_streamed


async def test_a_structured_answer_stands_beside_the_calls(fake_ollama, plain, run):
    fake_ollama.reply(written("get_weather", city="Paris"))
    fake_ollama.reply(json.dumps({"answer": {"city": "Paris", "sunny": True}}))
    agent = Agent("a", model=plain, tools=[get_weather], output_type=Forecast)

    result = await run(agent, "Paris?", run_config=QUIET)

    assert result.final_output == Forecast(city="Paris", sunny=True)
    branch = fake_ollama.chats[0]["format"]["anyOf"][1]
    assert set(branch["properties"]["answer"]["properties"]) == {"city", "sunny"}


async def test_a_required_call_leaves_no_room_for_an_answer(fake_ollama, plain, run):
    fake_ollama.reply(written("get_weather", city="Paris"))
    fake_ollama.reply(json.dumps({"answer": "sunny"}))
    settings = ModelSettings(tool_choice="required")
    agent = Agent("a", model=plain, tools=[get_weather], model_settings=settings)

    result = await run(agent, "Paris?", run_config=QUIET)

    assert result.final_output == "sunny"
    assert offered(fake_ollama.chats[0]) == ["get_weather"]
    assert offered(fake_ollama.chats[1]) == ["get_weather", "answer"]


async def test_prose_where_the_format_is_ignored_is_the_answer(fake_ollama, plain, run):
    fake_ollama.reply("Just words.")

    result = await run(Agent("a", model=plain, tools=[get_weather]), "Hi", run_config=QUIET)

    assert result.final_output == "Just words."


async def test_half_a_call_is_an_error_and_no_answer(fake_ollama, plain):
    from agents import Runner  # noqa: PLC0415 - the fixture has the other two ways

    fake_ollama.reply('{"name": "get_weather", "argu', done_reason="length")

    with pytest.raises(ModelOutputError, match="max_tokens"):
        await Runner.run(Agent("a", model=plain, tools=[get_weather]), "Hi", run_config=QUIET)


async def test_without_emulation_such_a_model_is_refused_with_the_way_out(fake_ollama, plain, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    agent = Agent("a", model=provider.get_model("plain"), tools=[get_weather])

    with pytest.raises(CapabilityError, match="tool_emulation=True"):
        await run(agent, "Hi", run_config=QUIET)


async def test_without_tools_nothing_is_emulated(fake_ollama, plain, run):
    fake_ollama.reply("Hi!")

    await run(Agent("a", model=plain), "Hi", run_config=QUIET)

    assert "format" not in fake_ollama.chats[0]
    assert [request.path for request in fake_ollama.requests] == ["/api/chat"]
