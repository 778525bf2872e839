"""Structured output through the Runner, alone and beside tools."""

import pytest
from agents import Agent, RunConfig, Runner, function_tool
from pydantic import BaseModel

from timestep import ModelOutputError

QUIET = RunConfig(tracing_disabled=True)
GOOD = '{"city": "Paris", "degrees": 21}'


class Weather(BaseModel):
    city: str
    degrees: int


@function_tool
def get_degrees(city: str) -> int:
    """Degrees in a city."""
    return 21


PARIS = Weather(city="Paris", degrees=21)


async def test_without_tools_the_schema_is_enforced_from_the_first_token(fake_ollama, model, run):
    fake_ollama.reply(GOOD)

    result = await run(Agent("a", model=model, output_type=Weather), "hi", run_config=QUIET)

    assert result.final_output == PARIS
    assert set(fake_ollama.chats[0]["format"]["properties"]) == {"city", "degrees"}


@pytest.mark.parametrize("thinking", ["", "Let me see."])
async def test_beside_tools_the_tools_are_called_and_the_answer_is_valid(
    fake_ollama, model, run, thinking
):
    agent = Agent("a", model=model, output_type=Weather, tools=[get_degrees])
    fake_ollama.reply(thinking=thinking, tool_calls=[("get_degrees", {"city": "Paris"})])
    fake_ollama.reply(GOOD, thinking=thinking)

    result = await run(agent, "hi", run_config=QUIET)

    assert result.final_output == PARIS
    for chat in fake_ollama.chats:
        assert "format" not in chat  # it would keep the model from calling
        assert chat["tools"]
        assert '"degrees"' in chat["messages"][0]["content"]


@pytest.mark.parametrize("fenced", [f"```json\n{GOOD}\n```", f"Sure:\n```\n{GOOD}\n```\nDone."])
async def test_fenced_json_is_unwrapped(fake_ollama, model, run, fenced):
    agent = Agent("a", model=model, output_type=Weather, tools=[get_degrees])
    fake_ollama.reply(fenced)

    result = await run(agent, "hi", run_config=QUIET)

    assert result.final_output == PARIS
    assert len(fake_ollama.chats) == 1


async def test_prose_is_repaired_once_and_counted(fake_ollama, model):
    agent = Agent("a", model=model, output_type=Weather, tools=[get_degrees])
    fake_ollama.reply("It is 21 degrees in Paris.", prompt_eval_count=10, eval_count=5)
    fake_ollama.reply(GOOD, prompt_eval_count=20, eval_count=7)

    result = await Runner.run(agent, "hi", run_config=QUIET)

    usage = result.context_wrapper.usage
    second = fake_ollama.chats[1]
    assert result.final_output == PARIS
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (2, 30, 12)
    assert "tools" not in second
    assert set(second["format"]["properties"]) == {"city", "degrees"}
    assert second["messages"][-2]["content"] == "It is 21 degrees in Paris."
    assert len(result.raw_responses) == 1  # one turn, not two


async def test_a_repair_in_a_stream_gives_the_same_answer_and_tokens(fake_ollama, model):
    agent = Agent("a", model=model, output_type=Weather, tools=[get_degrees])
    fake_ollama.reply("It is 21 degrees in Paris.", prompt_eval_count=10, eval_count=5)
    fake_ollama.reply(GOOD, prompt_eval_count=20, eval_count=7)

    result = Runner.run_streamed(agent, "hi", run_config=QUIET)
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]

    usage = result.context_wrapper.usage
    assert result.final_output == PARIS
    assert (usage.input_tokens, usage.output_tokens) == (30, 12)
    assert "".join(deltas) == GOOD  # the prose was held back


async def test_a_failed_repair_is_an_error_and_no_loop(fake_ollama, model):
    agent = Agent("a", model=model, output_type=Weather, tools=[get_degrees])
    fake_ollama.reply("no")
    fake_ollama.reply("still no")

    with pytest.raises(ModelOutputError, match="not even when asked again"):
        await Runner.run(agent, "hi", run_config=QUIET)


@pytest.mark.parametrize(
    "answer",
    [
        {"text": '{"city": "Par', "done_reason": "length"},
        {"text": "", "done_reason": "length", "thinking": "hm"},
        {"text": ""},
    ],
    ids=["cut in the JSON", "cut in the thinking", "empty"],
)
@pytest.mark.parametrize("tools", [[], [get_degrees]], ids=["alone", "beside tools"])
async def test_half_an_answer_or_none_is_an_error_and_no_loop(fake_ollama, model, answer, tools):
    agent = Agent("a", model=model, output_type=Weather, tools=tools)
    fake_ollama.reply(**answer)

    with pytest.raises(ModelOutputError):
        await Runner.run(agent, "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == 1


async def test_where_the_format_is_ignored_the_answer_is_checked_and_repaired(
    fake_ollama, cloud_like, run
):
    agent = Agent("a", model=cloud_like(), output_type=Weather)
    fake_ollama.reply("Here you go: 21 degrees.")
    fake_ollama.reply(f"```json\n{GOOD}\n```")

    result = await run(agent, "hi", run_config=QUIET)

    assert result.final_output == PARIS
    assert '"degrees"' in fake_ollama.chats[0]["messages"][0]["content"]


async def test_an_output_type_that_is_no_object_works_too(fake_ollama, model, run):
    fake_ollama.reply('{"response": [1, 2]}')

    result = await run(Agent("a", model=model, output_type=list[int]), "hi", run_config=QUIET)

    assert result.final_output == [1, 2]


async def test_a_call_and_words_beside_it_are_both_kept(fake_ollama, model, run):
    agent = Agent("a", model=model, output_type=Weather, tools=[get_degrees])
    fake_ollama.reply("Let me look.", tool_calls=[("get_degrees", {"city": "Paris"})])
    fake_ollama.reply(GOOD)

    await run(agent, "hi", run_config=QUIET)

    assistant = fake_ollama.chats[1]["messages"][2]
    assert (assistant["content"], len(assistant["tool_calls"])) == ("Let me look.", 1)
