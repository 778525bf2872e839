"""One model, called as the SDK and its durable hosts call it."""

import asyncio
import inspect

import pytest
from agents import Agent, Model, ModelSettings, ModelTracing, Runner

from timestep import OllamaModel, OllamaModelProvider, UnsupportedInputError
from timestep.errors import OllamaError
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.wire import Wire
from timestep.testing import ErrorLine, NoDone

WHOLE = {
    "system_instructions": "Be brief.",
    "input": "Hi",
    "model_settings": ModelSettings(),
    "tools": [],
    "output_schema": None,
    "handoffs": [],
    "tracing": ModelTracing.DISABLED,
}
ELSEWHERE = {"previous_response_id": None, "conversation_id": None, "prompt": None}


def test_a_model_is_what_the_sdk_asks_for(model):
    assert isinstance(model, Model)
    assert model.model == "m"
    assert inspect.isasyncgen(model.stream_response(**WHOLE))  # the Runner calls __anext__ itself


async def test_text_may_be_given_instead_of_items_and_everything_by_keyword(fake_ollama, model):
    fake_ollama.reply("Hello!", times=2)

    response = await model.get_response(**WHOLE, **ELSEWHERE)
    events = [event async for event in model.stream_response(**WHOLE, **ELSEWHERE)]

    assert response.output[0].content[0].text == "Hello!"
    assert events[-1].response.output[0].content[0].text == "Hello!"
    assert fake_ollama.chats[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert fake_ollama.chats[0] == fake_ollama.chats[1]


async def test_the_first_seven_may_be_given_by_position(fake_ollama, model):
    fake_ollama.reply("Hello!", times=2)

    await model.get_response(*WHOLE.values(), **ELSEWHERE)
    async for _ in model.stream_response(*WHOLE.values(), **ELSEWHERE):
        pass

    assert len(fake_ollama.chats) == 2


async def test_counts_are_there_even_when_the_server_sends_none(fake_ollama, model, run):
    fake_ollama.reply("Hi!", prompt_eval_count=0, eval_count=0)

    result = await run(Agent("a", model=model), "Hi")

    usage = result.context_wrapper.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens) == (1, 0, 0)
    assert usage.input_tokens_details.cached_tokens == 0
    assert usage.output_tokens_details.reasoning_tokens == 0


async def test_a_prompt_that_only_openai_keeps_is_warned_of_once(fake_ollama, model, run, caplog):
    fake_ollama.reply("Hi!", times=2)
    agent = Agent("a", model=model, prompt={"id": "pmpt_1"})

    for _ in range(2):
        await run(agent, "Hi")

    assert len([record for record in caplog.records if "prompt (" in record.getMessage()]) == 1


async def test_a_prompt_that_only_openai_keeps_is_refused_under_strict_validation(fake_ollama, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)
    agent = Agent("a", model=provider.get_model("m"), prompt={"id": "pmpt_1"})

    with pytest.raises(UnsupportedInputError, match="prompt"):
        await run(agent, "Hi")
    assert fake_ollama.requests == []


async def test_a_run_that_leaves_its_history_to_the_server_is_told_to_send_it(
    fake_ollama, model, run, caplog
):
    fake_ollama.reply("Hi!", times=2)
    output = {"type": "function_call_output", "call_id": "call_1", "output": "x"}

    await run(Agent("a", model=model), "Hi", auto_previous_response_id=True)
    assert "auto_previous_response_id" not in caplog.text
    await run(Agent("a", model=model), [output], auto_previous_response_id=True)
    assert "send the whole history instead of auto_previous_response_id" in caplog.text


async def test_one_model_answers_many_at_once_without_mixing_them_up(fake_ollama, model, run):
    fake_ollama.reply(lambda request: request.json["messages"][-1]["content"] * 3, times=20)

    results = await asyncio.gather(
        *(run(Agent("a", model=model), f"number {number}. ") for number in range(20))
    )

    assert [result.final_output for result in results] == [
        f"number {number}. " * 3 for number in range(20)
    ]


async def test_a_model_may_be_made_without_a_provider(fake_ollama):
    fake_ollama.reply("Hi!")
    model = OllamaModel("m", Wire(Endpoint(fake_ollama.url)), options={"seed": 7}, keep_alive="5m")

    result = await Runner.run(Agent("a", model=model), "Hi")

    assert result.final_output == "Hi!"
    assert fake_ollama.chats[0]["options"] == {"seed": 7}
    assert fake_ollama.chats[0]["keep_alive"] == "5m"


@pytest.mark.parametrize("fault", [NoDone(), ErrorLine("CUDA error", after=1)])
async def test_what_was_shown_stays_shown_when_the_answer_breaks_off(fake_ollama, model, fault):
    fake_ollama.reply("one two three", fault=fault)
    events = []

    with pytest.raises(OllamaError):
        await model.get_response(**WHOLE)
    fake_ollama.reply("one two three", fault=fault)
    async for event in model.stream_response(**WHOLE):
        events.append(event)  # noqa: PERF401 - kept when the stream raises

    assert [event.type for event in events if event.type.endswith("delta")]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error.message
    assert last.response.output[0].content[0].text.startswith("one")
