"""tool_choice through the Runner: none, required and named are kept, or honestly given up."""

import json

import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, function_tool

from timestep import ModelOutputError, OllamaModelProvider, UnsupportedInputError

QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture
def done():
    return []


@pytest.fixture
def tools(done):
    @function_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        done.append(("get_weather", city))
        return f"{city}: sunny"

    @function_tool
    def get_time(city: str) -> str:
        """The time in a city."""
        done.append(("get_time", city))
        return "12:00"

    return [get_weather, get_time]


def agent(model, tools, **settings):
    return Agent("a", model=model, tools=tools, model_settings=ModelSettings(**settings))


def call_text(name, **arguments):
    return json.dumps({"name": name, "arguments": arguments})


async def test_none_offers_no_tool(fake_ollama, model, run, tools):
    fake_ollama.reply("no tools")

    await run(agent(model, tools, tool_choice="none"), "hi", run_config=QUIET)

    assert "tools" not in fake_ollama.chats[0]
    assert "format" not in fake_ollama.chats[0]


async def test_none_runs_no_tool_whatever_the_model_does(fake_ollama, model, run, tools, done):
    fake_ollama.reply("Let me talk.", tool_calls=[("get_time", {"city": "Rome"})])

    result = await run(agent(model, tools, tool_choice="none"), "hi", run_config=QUIET)

    assert result.final_output == "Let me talk."
    assert done == []


async def test_a_call_in_the_place_of_an_answer_is_an_error_under_none(
    fake_ollama, model, run, tools, done
):
    fake_ollama.reply(tool_calls=[("get_time", {"city": "Rome"})])

    with pytest.raises(ModelOutputError, match="tool_choice is 'none'"):
        await run(agent(model, tools, tool_choice="none"), "hi", run_config=QUIET)

    assert done == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("gpt-oss:120b-cloud", {"capabilities": ["completion", "tools"]}),
        ("mine", {"capabilities": ["tools"], "remote_host": "https://ollama.com:443"}),
        ("mine", {"capabilities": ["tools"], "details": {"format": "safetensors"}}),
    ],
)
async def test_a_local_server_enforces_nothing_for_models_that_run_elsewhere(
    fake_ollama, run, tools, caplog, name, shown
):
    fake_ollama.fail(200, body=json.dumps(shown), path="/api/show")
    fake_ollama.reply("I would rather talk.")
    model = OllamaModelProvider(base_url=fake_ollama.url).get_model(name)

    result = await run(agent(model, tools, tool_choice="required"), "hi", run_config=QUIET)

    assert result.final_output == "I would rather talk."
    assert "format" not in fake_ollama.chats[0]
    assert "this endpoint cannot enforce it" in caplog.text


async def test_required_turns_constrained_json_into_a_real_call(
    fake_ollama, model, run, tools, done
):
    fake_ollama.reply(call_text("get_time", city="Rome"), thinking="I must call.")
    fake_ollama.reply("It is noon.")

    result = await run(agent(model, tools, tool_choice="required"), "hi", run_config=QUIET)

    first, second = fake_ollama.chats
    assert done == [("get_time", "Rome")]
    assert result.final_output == "It is noon."
    names = [choice["properties"]["name"]["const"] for choice in first["format"]["anyOf"]]
    assert names == ["get_weather", "get_time"]
    assert "format" not in second  # the SDK resets the choice after a call
    assert second["messages"][1]["thinking"] == "I must call."
    assert second["messages"][1]["tool_calls"][0]["function"]["name"] == "get_time"
    if run.is_streamed:
        assert "".join(e.delta for e in run.events if "output_text.delta" in e.type) == (
            "It is noon."
        )  # the JSON of the call was never shown as text


async def test_a_named_tool_is_the_only_one_offered(fake_ollama, model, run, tools, done):
    fake_ollama.reply(call_text("get_time", city="Oslo"))
    fake_ollama.reply("done")

    await run(agent(model, tools, tool_choice="get_time"), "hi", run_config=QUIET)

    first = fake_ollama.chats[0]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["get_time"]
    assert first["format"]["properties"]["name"] == {"const": "get_time"}
    assert done == [("get_time", "Oslo")]


async def test_a_native_call_is_as_good_as_a_written_one(fake_ollama, model, run, tools, done):
    fake_ollama.reply(tool_calls=[("get_time", {"city": "Lima"})])
    fake_ollama.reply("done")

    await run(agent(model, tools, tool_choice="required"), "hi", run_config=QUIET)

    assert done == [("get_time", "Lima")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": "I would rather talk."},
        {"text": ""},
        {"tool_calls": [("get_weather", {"city": "Lima"})]},
        {"text": '{"name": "get_weather", "arguments": {}}'},
    ],
    ids=["prose", "nothing", "another tool, natively", "another tool, written"],
)
async def test_what_is_no_call_to_the_named_tool_is_repaired_once(
    fake_ollama, model, run, tools, done, wrong
):
    fake_ollama.reply(**wrong)
    fake_ollama.reply(call_text("get_time", city="Bonn"))
    fake_ollama.reply("done")

    result = await run(agent(model, tools, tool_choice="get_time"), "hi", run_config=QUIET)

    second = fake_ollama.chats[1]
    assert done == [("get_time", "Bonn")]
    assert "tools" not in second
    assert second["format"]["properties"]["name"] == {"const": "get_time"}
    assert second["messages"][-1]["role"] == "user"
    assert result.final_output == "done"


async def test_a_second_refusal_to_call_is_an_error_and_no_loop(fake_ollama, model, tools):
    fake_ollama.reply("no")
    fake_ollama.reply("still no")

    with pytest.raises(ModelOutputError, match="not even when asked again"):
        await Runner.run(agent(model, tools, tool_choice="get_time"), "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == 2


async def test_an_unknown_tool_cannot_be_chosen(model, run, tools):
    with pytest.raises(UnsupportedInputError, match=r"get_wether.*get_weather, get_time"):
        await run(agent(model, tools, tool_choice="get_wether"), "hi", run_config=QUIET)


async def test_without_parallel_calls_only_the_first_is_made(fake_ollama, model, run, tools, done):
    fake_ollama.reply(tool_calls=[("get_time", {"city": "A"}), ("get_weather", {"city": "B"})])
    fake_ollama.reply("done")

    await run(agent(model, tools, parallel_tool_calls=False), "hi", run_config=QUIET)

    assert done == [("get_time", "A")]


async def test_an_endpoint_that_cannot_enforce_says_so_once(
    fake_ollama, cloud_like, run, tools, caplog
):
    fake_ollama.reply("I would rather talk.", times=2)
    model = cloud_like()

    for _ in range(2):
        result = await run(agent(model, tools, tool_choice="get_time"), "hi", run_config=QUIET)

    assert result.final_output == "I would rather talk."
    assert "format" not in fake_ollama.chats[0]
    assert [r.message for r in caplog.records if "cannot enforce" in r.message] == [
        "Ollama model 'm' ignores tool_choice (this endpoint cannot enforce it)."
    ]


async def test_an_endpoint_that_cannot_enforce_is_refused_under_strict_validation(
    fake_ollama, cloud_like, run, tools
):
    model = cloud_like(strict_feature_validation=True)

    with pytest.raises(UnsupportedInputError, match="tool_choice"):
        await run(agent(model, tools, tool_choice="required"), "hi", run_config=QUIET)

    assert fake_ollama.chats == []


async def test_emulated_tools_run_the_whole_loop_and_stream_the_answer(
    fake_ollama, run, tools, done
):
    fake_ollama.add_model("m", capabilities=["completion"])
    provider = OllamaModelProvider(base_url=fake_ollama.url, tool_emulation=True)
    fake_ollama.reply(call_text("get_weather", city="Paris"))
    fake_ollama.reply(json.dumps({"answer": 'It is "sunny" in Paris.\n'}))

    result = await run(agent(provider.get_model("m"), tools), "hi", run_config=QUIET)

    first, second = fake_ollama.chats
    assert done == [("get_weather", "Paris")]
    assert result.final_output == 'It is "sunny" in Paris.\n'
    assert "tools" not in first
    assert "get_weather" in first["messages"][0]["content"]
    assert second["messages"][-1] == {
        "role": "user",
        "content": "Result of get_weather: Paris: sunny",
    }
    if run.is_streamed:
        deltas = [e.delta for e in run.events if e.type == "response.output_text.delta"]
        assert len(deltas) > 2


async def test_a_model_with_tools_is_not_emulated(fake_ollama, run, tools):
    provider = OllamaModelProvider(base_url=fake_ollama.url, tool_emulation=True)
    fake_ollama.reply("hi")

    await run(agent(provider.get_model("m"), tools), "hi", run_config=QUIET)

    assert "tools" in fake_ollama.chats[0]
