import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from agents import Agent, ModelProvider, function_tool
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from timestep import (
    ConfigurationError,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModelProvider,
)
from timestep.batch import Defaults, Output, OutputError, read_values, run
from timestep.batch.loop import Rate
from timestep.testing import Stall


class City(BaseModel):
    name: str
    country: str


@pytest.fixture
def provider(fake_ollama):
    mapping = MultiModelProviderMap()
    mapping.add_provider("ollama", OllamaModelProvider(base_url=fake_ollama.url))
    return MultiModelProvider(provider_map=mapping, default_model="ollama/m")


def prompts(count):
    return [{"id": f"q{at}", "prompt": f"question {at}"} for at in range(count)]


async def results(lines, provider, **keywords):
    return [result async for result in run(lines, provider, **keywords)]


def echo(request):
    return request.json["messages"][-1]["content"].upper()


async def test_every_line_gets_its_own_answer(fake_ollama, provider):
    fake_ollama.reply(echo, times=None)
    found = await results(prompts(40), provider, concurrency=7)
    assert {result.line.custom_id: result.text for result in found} == {
        f"q{at}": f"QUESTION {at}" for at in range(40)
    }


async def test_no_more_lines_are_under_way_than_allowed(fake_ollama, provider):
    fake_ollama.reply(echo, times=None)
    taken = 0

    def lines():
        nonlocal taken
        for line in prompts(30):
            taken += 1
            yield line

    batch = run(lines(), provider, concurrency=3)
    await anext(batch)
    assert taken == 3  # the one that was read makes room when the next one is wanted
    await batch.aclose()


async def test_an_answer_is_a_chat_completion_that_openai_reads(fake_ollama, provider):
    fake_ollama.reply("Hello!", thinking="hm", prompt_eval_count=5, eval_count=2)
    [result] = await results(prompts(1), provider)
    assert result.error is None
    assert result.row["custom_id"] == "q0"
    assert result.row["response"]["status_code"] == 200
    completion = ChatCompletion.model_validate(result.row["response"]["body"], strict=True)
    assert completion.choices[0].message.content == "Hello!"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == 7


async def test_calls_are_part_of_the_answer(fake_ollama, provider):
    fake_ollama.reply(tool_calls=[("f", {"a": 1})])
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}}  # fmt: skip
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": body}
    [result] = await results([line], provider)
    choice = ChatCompletion.model_validate(result.row["response"]["body"]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"a": 1}


async def test_a_line_for_the_responses_api_gets_a_response(fake_ollama, provider):
    fake_ollama.reply("Hello!")
    line = {"custom_id": "a", "url": "/v1/responses", "body": {"input": "x"}}
    [result] = await results([line], provider)
    body = result.row["response"]["body"]
    response = Response.model_validate(body)
    assert response.output_text == result.text == "Hello!"


async def test_an_agent_answers_with_its_tools(fake_ollama, provider):
    @function_tool
    def double(number: int) -> int:
        """Twice *number*."""
        return 2 * number

    fake_ollama.reply(tool_calls=[("double", {"number": 4})])
    fake_ollama.reply("It is 8.")
    agent = Agent(name="a", tools=[double])
    [result] = await results(prompts(1), provider, agent=agent)
    assert result.text == "It is 8."
    assert fake_ollama.chats[1]["messages"][-1]["content"] == "8"


async def test_a_typed_answer_of_an_agent_is_json(fake_ollama, provider):
    fake_ollama.reply('{"name": "Łódź", "country": "Poland"}')
    agent = Agent(name="a", output_type=City)
    [result] = await results(prompts(1), provider, agent=agent)
    assert json.loads(result.text) == {"name": "Łódź", "country": "Poland"}
    assert "Łódź" in result.text


async def test_a_cut_answer_of_an_agent_says_that_it_was_cut(fake_ollama, provider):
    fake_ollama.reply("half of", done_reason="length")
    [result] = await results(prompts(1), provider, agent=Agent(name="a"))
    assert result.row["response"]["body"]["choices"][0]["finish_reason"] == "length"


async def test_an_agent_that_waits_for_approval_has_failed(fake_ollama, provider):
    @function_tool(needs_approval=True)
    def delete(path: str) -> str:
        """Delete *path*."""
        raise AssertionError(path)

    fake_ollama.reply(tool_calls=[("delete", {"path": "/"})])
    [result] = await results(prompts(1), provider, agent=Agent(name="a", tools=[delete]))
    assert isinstance(result.error, ConfigurationError)
    assert "A tool call needs approval, which a batch cannot ask for: delete." in str(result.error)


@pytest.mark.parametrize("agent", [None, Agent(name="a")], ids=["a model", "an agent"])
async def test_a_filtered_answer_says_that_a_filter_cut_it(fake_openai, agent):
    fake_openai.reply("half of", finish_reason="content_filter", times=2)
    server = {"kind": "openai", "base_url": fake_openai.base_url}
    provider = MultiModelProvider.from_env(
        env_file=None, providers={"lab": server}, default_model="lab/m"
    )
    body = {"input": "x"}
    lines = [*prompts(1), {"custom_id": "r", "url": "/v1/responses", "body": body}]
    chat, response = await results(lines, provider, agent=agent, concurrency=1)
    assert chat.row["response"]["body"]["choices"][0]["finish_reason"] == "content_filter"
    assert response.row["response"]["body"]["incomplete_details"] == {"reason": "content_filter"}


async def test_a_model_is_made_once_for_a_batch(fake_ollama, provider):
    fake_ollama.reply(echo, times=None)
    made = Counter()

    class Counting(ModelProvider):
        def get_model(self, model_name):
            made[model_name] += 1
            return provider.get_model(model_name)

    lines = [*prompts(5), {"prompt": "x", "model": "ollama/other"}]
    await results(lines, Counting())
    assert made == {None: 1, "ollama/other": 1}


async def test_a_failure_is_a_row_and_the_others_go_on(fake_ollama, provider):
    fake_ollama.reply(echo, times=None)
    lines = [*prompts(2), {"id": "bad", "prompt": "x", "model": "nowhere/m"}]
    found = {result.line.custom_id: result for result in await results(lines, provider)}
    assert found["q1"].error is None
    assert found["bad"].row["error"]["code"] == "UnknownModelError"
    assert "nowhere" in found["bad"].row["error"]["message"]
    assert found["bad"].row["response"] is None


async def test_a_status_of_the_server_stands_in_the_row(fake_ollama, provider):
    fake_ollama.fail(404, "model 'm' not found")
    [result] = await results(prompts(1), provider)
    assert result.attempts == 1
    assert result.row["response"]["status_code"] == 404
    assert result.row["error"]["code"] == "ModelNotFoundError"


async def test_a_failure_that_may_pass_is_tried_again(fake_ollama, provider):
    fake_ollama.fail(503, "server busy", headers={"Retry-After": "0"})
    fake_ollama.reply("ok")
    [result] = await results(prompts(1), provider)
    assert (result.text, result.attempts) == ("ok", 2)


async def test_retries_end(fake_ollama, provider):
    for _ in range(3):
        fake_ollama.fail(503, "server busy", headers={"Retry-After": "0"})
    [result] = await results(prompts(1), provider, retries=2)
    assert result.attempts == 3
    assert result.row["error"]["code"] == "ServerBusyError"


async def test_a_reader_that_leaves_cancels_what_is_under_way(fake_ollama, provider):
    stall = Stall(after=1)
    fake_ollama.reply("first")
    fake_ollama.reply("a long story", fault=stall, times=2)
    batch = run(prompts(3), provider, concurrency=3)
    await anext(batch)
    await stall.reached()
    await batch.aclose()
    fake_ollama.strict = False
    await fake_ollama.disconnected()


async def test_an_error_of_the_callers_iterable_leaves_the_batch(fake_ollama, provider):
    def lines():
        yield {"prompt": "a"}
        raise RuntimeError("the source broke")

    fake_ollama.reply(echo, times=None)
    with pytest.raises(RuntimeError, match="the source broke"):
        await results(lines(), provider)


async def test_a_bad_mapping_leaves_the_batch_with_its_number(fake_ollama, provider):
    fake_ollama.reply(echo, times=None)
    with pytest.raises(ValueError, match="line 2: 'prompt' is missing"):
        await results([{"prompt": "a"}, {"text": "b"}], provider, concurrency=1)


async def test_less_than_one_at_once_is_refused(provider):
    with pytest.raises(ValueError, match="concurrency is 0"):
        await results([], provider, concurrency=0)


async def test_a_rate_spreads_requests_and_pays_for_tokens(clock):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        clock.now += seconds

    rate = Rate(requests=60, tokens=600, clock=clock, sleep=sleep)
    for _ in range(3):
        await rate.begin()
    assert waits == [1.0, 1.0]
    rate.used(100)  # ten seconds of 600 a minute
    await rate.begin()
    assert waits == [1.0, 1.0, 11.0]


def lines_of(*values):
    return list(read_values(values, Defaults(model="ollama/m")))


def row(line, error=None):
    return {
        "id": f"batch_req_{line.key}",
        "custom_id": line.custom_id,
        "response": {},
        "error": error,
    }


async def test_each_server_has_the_rate_for_each_to_itself(fake_ollama, provider, monkeypatch):
    begun = []

    async def begin(rate):
        begun.append(rate)

    monkeypatch.setattr(Rate, "begin", begin)
    fake_ollama.reply(echo, times=None)
    provider.provider_map.add_provider("lab", OllamaModelProvider(base_url=fake_ollama.url))
    lines = [{"prompt": "x", "model": model} for model in ("ollama/m", "lab/m", "lab/n")]
    await results(lines, provider, concurrency=1, rates={"": Rate(requests=60)})
    assert begun[0] is not begun[1] is begun[2]
    assert [rate.requests for rate in begun] == [60, 60, 60]


def test_rows_of_an_earlier_run_are_known(tmp_path):
    path = tmp_path / "out.jsonl"
    first, second, third = lines_of(*prompts(3))
    with Output(path) as output:
        output.write(row(first), failed=False)
        output.write(row(second, {"code": "X"}), failed=True)
    with Output(path) as output:
        assert [output.has(line) for line in (first, second, third)] == [True, True, False]
        assert (output.done_before, output.failed_before) == (1, 1)
    with Output(path, retry_errors=True) as output:
        assert [output.has(line) for line in (first, second, third)] == [True, False, False]


def test_an_id_with_half_a_surrogate_pair_is_known_again(tmp_path):
    [line] = lines_of({"id": "half \ud800", "prompt": "x"})
    for is_known in (False, True):
        with Output(tmp_path / "out.jsonl") as output:
            assert output.has(line) == is_known
            output.write(row(line), failed=False)


@pytest.mark.parametrize("left", [1, 30, -5])
def test_a_torn_last_line_is_cut_off(tmp_path, left):
    path = tmp_path / "out.jsonl"
    first, second = lines_of(*prompts(2))
    with Output(path) as output:
        output.write(row(first), failed=False)
    whole = path.read_bytes()
    path.write_bytes(whole + json.dumps(row(second)).encode()[:left])
    with Output(path) as output:
        assert [output.has(line) for line in (first, second)] == [True, False]
    assert path.read_bytes() == whole


def test_a_changed_line_is_noticed(tmp_path):
    path = tmp_path / "out.jsonl"
    [line] = lines_of({"id": "a", "prompt": "before"})
    [changed] = lines_of({"id": "a", "prompt": "after"})
    with Output(path) as output:
        output.write(row(line), failed=False)
    with Output(path) as output:
        assert not output.has_changed(line)
        assert output.has_changed(changed)


def test_two_runs_do_not_share_an_output(tmp_path):
    with Output(tmp_path / "out.jsonl"), pytest.raises(OutputError, match="Another run is writing"):
        Output(tmp_path / "out.jsonl")
    Output(tmp_path / "out.jsonl").close()


@pytest.mark.parametrize("text", ['{"custom_id": 5}\n', "remember the milk"])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "notes.jsonl"
    path.write_text(text)
    with pytest.raises(OutputError, match=r"notes.jsonl:1 is not a row of a batch"):
        Output(path)
    assert path.read_text() == text


def test_failures_that_are_something_else_are_not_deleted(tmp_path):
    path = tmp_path / "out.errors.jsonl"
    path.write_text("my own\n")
    with pytest.raises(OutputError, match=r"out.errors.jsonl:1 is not a row of a batch"):
        Output(tmp_path / "out.jsonl", retry_errors=True)
    assert path.read_text() == "my own\n"


def test_two_names_of_one_output_are_one_output(tmp_path):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
    with Output(tmp_path / "out.jsonl"), pytest.raises(OutputError, match="Another run is writing"):
        Output(tmp_path / "link.jsonl")


@pytest.mark.parametrize("place", ["missing/out.jsonl", ".", "/dev/full", "/"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path, place):
    with pytest.raises(OutputError, match="cannot be written"):
        Output(tmp_path / place)
    with pytest.raises(OutputError, match="cannot be written"):
        Output(Path())


async def test_cancelling_a_batch_ends_it(fake_ollama, provider):
    stall = Stall(after=1)
    fake_ollama.reply("a long story", fault=stall, times=None)
    running = asyncio.create_task(results(prompts(5), provider, concurrency=2))
    await stall.reached()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    fake_ollama.strict = False
