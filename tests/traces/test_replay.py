import pytest
from agents import Agent, RunConfig, Runner, handoff
from pydantic import BaseModel

from timestep.errors import UnsupportedInputError
from timestep.ollama.provider import OllamaModelProvider
from timestep.traces import Span, Trace
from timestep.traces.conversation import Call, Message
from timestep.traces.diff import compare
from timestep.traces.rebuilt_agents import NOT_RECORDED, RecordedResults, input_items
from timestep.traces.replay import replay
from timestep.traces.replay_limits import from_step

from .conftest import get_weather


@pytest.fixture
def again(fake_ollama, installed):
    """Replay a run against the test server; what it came to, and its record."""
    provider = OllamaModelProvider(base_url=fake_ollama.url)

    async def run(trace, **options):
        done = await replay(trace, provider, body=installed.body, **options)
        installed.flush()
        return done, installed.get("last")

    return run


async def test_a_replay_asks_the_same_and_compares_equal(run_weather, again, fake_ollama):
    run = await run_weather()
    asked = fake_ollama.chats
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})], thinking="Look it up.")
    fake_ollama.reply("It is sunny.")

    done, record = await again(run)

    assert done.answer == "It is sunny."
    assert done.unknown_calls == []
    assert all(pair.is_same for pair in compare(run, record))
    assert record.metadata == {"replay_of": run.trace_id, "from_step": "1", "model": "recorded"}
    for before, after in zip(asked, fake_ollama.chats[2:], strict=True):
        assert after["tools"] == before["tools"]
        assert [m["role"] for m in after["messages"]] == [m["role"] for m in before["messages"]]


async def test_a_replay_from_a_later_step_begins_with_its_history(run_weather, again, fake_ollama):
    run = await run_weather()
    fake_ollama.reply("Sunny, says the record.")

    done, record = await again(run, step=2)

    assert done.answer == "Sunny, says the record."
    assert fake_ollama.chats[-1]["messages"][-1]["content"] == "Oslo: sunny"
    [pair] = compare(from_step(run, 2), record)
    assert [difference.field for difference in pair.differences] == ["answer"]


async def test_another_model_gets_recorded_results_and_is_told_where_there_are_none(
    run_weather, again, fake_ollama
):
    run = await run_weather()
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Bergen"})])
    fake_ollama.reply("Who knows.")

    done, record = await again(run, model="other")

    assert done.unknown_calls == ['get_weather(city="Bergen")']
    assert {call.model for call in record.model_calls} == {"other"}
    assert [call.data["output"] for call in record.tool_calls] == ["Oslo: sunny", NOT_RECORDED]


async def test_handoffs_settings_and_shapes_are_rebuilt(fake_ollama, installed, again):
    class Poem(BaseModel):
        title: str

    provider = OllamaModelProvider(base_url=fake_ollama.url)
    config = RunConfig(model_provider=provider)
    poet = Agent(name="poet", model="p", instructions="Rhyme.", output_type=Poem)
    idle = Agent(name="idle", model="i")
    host = Agent(name="host", model="h", handoffs=[poet, handoff(idle)], tools=[get_weather])
    host.model_settings.temperature = 0.5
    for _ in range(2):
        fake_ollama.reply(tool_calls=[("transfer_to_poet", {})])
        fake_ollama.reply('{"title": "Rain"}')
    await Runner.run(host, "A poem, please.", run_config=config)
    installed.flush()
    run = installed.get("last")

    done, record = await again(run)

    assert done.answer == "{'title': 'Rain'}"
    assert all(pair.is_same for pair in compare(run, record))
    first, second, again_first, again_second = fake_ollama.chats
    assert again_first["options"] == first["options"]
    assert again_first["tools"] == first["tools"]
    assert again_second["format"] == second["format"]
    assert again_second["messages"][0] == second["messages"][0]


async def test_a_step_that_is_not_there_is_refused(run_weather, again):
    run = await run_weather()

    with pytest.raises(UnsupportedInputError, match="2 model calls"):
        await again(run, step=3)


async def test_a_call_whose_request_is_unknown_is_refused(again):
    call = Span("s", "t", None, "generation", "gpt", 1.0, data={"input": "hi"}, model="gpt")

    with pytest.raises(UnsupportedInputError, match="was not recorded"):
        await again(Trace("t", "r", 1.0, spans=(call,)))


async def test_a_call_of_the_responses_api_is_rebuilt(again, fake_ollama):
    data = {
        "input": "hi",
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "model_config": {"reasoning": {"effort": "low"}},
    }
    agent = Span("a", "t", None, "agent", "host", 0.5)
    call = Span("s", "t", "a", "response", "gpt", 1.0, data=data, model="gpt")
    fake_ollama.reply("hello")

    done, _ = await again(Trace("t", "r", 1.0, spans=(agent, call)), model="m")

    assert done.answer == "hello"
    [chat] = fake_ollama.chats
    assert chat["tools"][0]["function"]["name"] == "f"
    assert chat["messages"][0] == {"role": "system", "content": "Be kind."}
    assert chat["think"] == "low"


def test_every_message_becomes_an_item():
    messages = [
        Message("user", "a"),
        Message("assistant", "b", "hm", (Call("f", {"x": 1}, "c"), Call("g", "{", "d"))),
        Message("tool", "r", call_id="c"),
    ]

    assert input_items(messages) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x": 1}'},
        {"type": "function_call", "call_id": "d", "name": "g", "arguments": "{"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]


@pytest.mark.parametrize("message", [Message("user", images=1), Message("web_search_call", "{}")])
def test_what_cannot_be_asked_again_is_refused(message):
    with pytest.raises(UnsupportedInputError, match="cannot be replayed"):
        input_items([message])


def test_results_are_handed_out_in_their_order_and_the_last_one_stays():
    def call(number, given, answer):
        data = {"input": given, "output": answer}
        return Span(f"s{number}", "t", None, "generation", "m", float(number), data=data)

    def use(call_id):
        return {
            "type": "function_call",
            "name": "f",
            "arguments": '{"b": 1, "a": 2}',
            "call_id": call_id,
        }

    def result(call_id, text):
        return {"type": "function_call_output", "call_id": call_id, "output": text}

    recorded = RecordedResults(
        Trace(
            "t",
            "r",
            0.0,
            spans=(
                call(1, [], [use("c1")]),
                call(2, [result("c1", "first")], [use("c2")]),
                call(3, [result("c2", "second")], []),
            ),
        )
    )

    given = [recorded.take("f", '{"a": 2, "b": 1}').text for _ in range(3)]
    assert given == ["first", "second", "second"]
    assert recorded.take("f", "{}").text == NOT_RECORDED
    assert recorded.unknown == ["f()"]
