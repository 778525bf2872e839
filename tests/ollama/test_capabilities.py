"""What a model can do: asked once, only when it matters, and never in the way."""

import asyncio
import base64
import json

import pytest
from agents import Agent, ModelSettings, RunConfig, function_tool
from openai.types.shared import Reasoning

from timestep import (
    CapabilityError,
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaModelProvider,
    UnsupportedInputError,
)
from timestep.ollama import capabilities
from timestep.testing import Stall

QUIET = RunConfig(tracing_disabled=True)
IMAGE = f"data:image/png;base64,{base64.b64encode(b'PNG').decode()}"
LOOK = [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}]
THINK = ModelSettings(reasoning=Reasoning(effort="high"))


@function_tool
def noop() -> str:
    """Nothing."""
    return ""


def shown(server):
    return [request.path for request in server.requests if request.path == "/api/show"]


async def test_plain_text_asks_no_server(fake_ollama, model, run):
    fake_ollama.reply("hi")

    await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert [request.path for request in fake_ollama.requests] == ["/api/chat"]


async def test_tools_thinking_and_images_ask_once_for_a_model(fake_ollama, model, run):
    fake_ollama.reply("hi", times=3)

    await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)
    await run(Agent("a", model=model, model_settings=THINK), "hi", run_config=QUIET)
    await run(Agent("a", model=model), LOOK, run_config=QUIET)

    assert len(shown(fake_ollama)) == 1


@pytest.mark.parametrize(
    ("agent", "asked", "missing"),
    [({"tools": [noop]}, "hi", "tools"), ({}, LOOK, "vision")],
    ids=["tools", "vision"],
)
async def test_a_missing_capability_is_an_error_before_the_request(
    fake_ollama, model, run, agent, asked, missing
):
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.add_model("able", capabilities=["completion", "tools", "vision"])

    with pytest.raises(CapabilityError, match="able") as caught:
        await run(Agent("a", model=model, **agent), asked, run_config=QUIET)

    assert caught.value.capability == missing
    assert fake_ollama.chats == []


async def test_a_model_that_does_not_think_gets_no_think(fake_ollama, model, run, caplog):
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.reply("hi")

    await run(Agent("a", model=model, model_settings=THINK), "hi", run_config=QUIET)

    assert "think" not in fake_ollama.chats[0]
    assert any("does not think" in record.message for record in caplog.records)


async def test_strict_validation_refuses_effort_for_a_model_that_does_not_think(fake_ollama, run):
    fake_ollama.add_model("m", capabilities=["completion"])
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)

    with pytest.raises(UnsupportedInputError, match=r"reasoning\.effort"):
        await run(
            Agent("a", model=provider.get_model("m"), model_settings=THINK),
            "hi",
            run_config=QUIET,
        )


@pytest.mark.parametrize(
    "failure",
    [
        {"status": 404, "body": "404 page not found"},
        {"status": 500, "error": "boom"},
        {"status": 401, "error": "unauthorized"},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": "[]"},
        {"status": 200, "body": '{"capabilities": "all", "details": 3}'},
    ],
    ids=["no such path", "broken", "no key", "a page", "a list", "odd fields"],
)
async def test_a_server_that_cannot_show_a_model_can_still_chat(fake_ollama, model, run, failure):
    failure = dict(failure)
    fake_ollama.fail(failure.pop("status"), path="/api/show", **failure)
    fake_ollama.reply("hi")

    result = await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)

    assert result.final_output == "hi"


async def test_an_answer_that_contradicts_what_is_known_makes_it_ask_again(fake_ollama, model, run):
    fake_ollama.reply("hi")
    fake_ollama.fail(400, "registry.ollama.ai/library/m:latest does not support tools")
    fake_ollama.reply("hi")
    agent = Agent("a", model=model, tools=[noop])

    await run(agent, "hi", run_config=QUIET)
    with pytest.raises(CapabilityError):
        await run(agent, "hi", run_config=QUIET)
    await run(agent, "hi", run_config=QUIET)

    assert len(shown(fake_ollama)) == 2


async def test_requests_at_the_same_time_ask_once(fake_ollama, model, run):
    fake_ollama.reply("hi", times=10)
    agent = Agent("a", model=model, tools=[noop])

    await asyncio.gather(*(run(agent, "hi", run_config=QUIET) for _ in range(10)))

    assert len(shown(fake_ollama)) == 1


def test_event_loops_share_what_one_of_them_heard(fake_ollama, model, run):
    fake_ollama.reply("hi", times=2)

    for _ in range(2):
        asyncio.run(run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET))

    assert len(shown(fake_ollama)) == 1


async def test_a_server_that_cannot_show_models_is_asked_once(fake_ollama, model, run):
    fake_ollama.fail(404, body="404 page not found", path="/api/show")
    fake_ollama.reply("hi", times=2)

    for _ in range(2):
        await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)

    assert len(shown(fake_ollama)) == 1


async def test_a_server_that_is_silent_about_a_model_does_not_delay_the_chat_for_long(
    fake_ollama, model, run, monkeypatch
):
    monkeypatch.setattr(capabilities, "_PATIENCE", 1.0)
    fake_ollama.fail(200, path="/api/show", fault=Stall(0))
    fake_ollama.reply("hi", times=2)

    for _ in range(2):
        await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)

    assert len(shown(fake_ollama)) == 1


async def test_a_server_that_was_down_is_asked_again(fake_ollama, model, run):
    agent = Agent("a", model=model, tools=[noop])
    await asyncio.to_thread(fake_ollama.refuse)
    with pytest.raises(OllamaConnectionError):
        await run(agent, "hi", run_config=QUIET)
    fake_ollama.accept()
    fake_ollama.add_model("m", capabilities=["completion"])

    with pytest.raises(CapabilityError):
        await run(agent, "hi", run_config=QUIET)


async def test_a_model_that_was_missing_is_asked_for_again(fake_ollama, model, run):
    fake_ollama.add_model("other")
    agent = Agent("a", model=model, tools=[noop])
    with pytest.raises(ModelNotFoundError, match="ollama pull m"):
        await run(agent, "hi", run_config=QUIET)
    fake_ollama.add_model("m", capabilities=["completion"])

    with pytest.raises(CapabilityError, match="On this server these do: other"):
        await run(agent, "hi", run_config=QUIET)


async def test_a_model_that_learned_to_call_tools_is_noticed(fake_ollama, model, run):
    fake_ollama.add_model("m", capabilities=["completion"])
    agent = Agent("a", model=model, tools=[noop])
    for _ in range(2):
        with pytest.raises(CapabilityError):
            await run(agent, "hi", run_config=QUIET)
    assert len(shown(fake_ollama)) == 1

    fake_ollama.add_model("m", capabilities=["completion", "tools"])
    fake_ollama.reply("hi", times=2)
    for _ in range(2):
        await run(agent, "hi", run_config=QUIET)

    assert len(shown(fake_ollama)) == 2


async def test_a_list_that_promises_too_much_does_not_help(fake_ollama, model, run):
    fake_ollama.add_model("m", capabilities=["completion"])
    listed = {"models": [{"name": "M:latest", "capabilities": ["tools"]}]}
    fake_ollama.fail(200, path="/api/tags", body=json.dumps(listed))

    with pytest.raises(CapabilityError, match="tools"):
        await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)


@pytest.mark.parametrize(
    "failure",
    [
        {"status": 500, "error": "boom"},
        {"status": 200, "body": "[]"},
        {"status": 200, "body": '{"models": {}}'},
        {"status": 200, "body": '{"models": [1, {"name": "x", "capabilities": 5}]}'},
        {"status": 200, "fault": Stall(0), "times": None},
    ],
    ids=["broken", "a list", "an object", "odd entries", "silence"],
)
async def test_a_refusal_does_not_need_the_list_of_models(
    fake_ollama, model, run, failure, monkeypatch
):
    monkeypatch.setattr(capabilities, "_LIST_PATIENCE", 0.2)
    failure = dict(failure)
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.fail(failure.pop("status"), path="/api/tags", **failure)

    with pytest.raises(CapabilityError, match=r"needs it\. Choose"):
        await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)


async def test_a_history_with_calls_reaches_a_model_without_tools_as_words(fake_ollama, model, run):
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.reply("hi")
    history = [
        {"type": "function_call", "call_id": "call_1", "name": "noop", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
    ]

    await run(Agent("a", model=model), history, run_config=QUIET)

    assert {message["role"] for message in fake_ollama.chats[0]["messages"]} <= {
        "user",
        "assistant",
    }
    assert "done" in repr(fake_ollama.chats[0]["messages"])


async def test_at_most_five_models_are_named_sorted_and_without_latest(fake_ollama, model, run):
    for name in ["z", "y:4b", "x", "b", "a:latest", "c", "d"]:
        fake_ollama.add_model(name, capabilities=["completion", "tools"])
    fake_ollama.add_model("m", capabilities=["completion"])

    with pytest.raises(
        CapabilityError, match=r"On this server these do: a, b, c, d, x and 2 more\."
    ):
        await run(Agent("a", model=model, tools=[noop]), "hi", run_config=QUIET)


NO_LEVELS = 'think value "medium" is not supported for this model'


def thinking(effort):
    return ModelSettings(reasoning=Reasoning(effort=effort))


async def test_a_server_without_levels_of_thinking_is_asked_to_think(
    fake_ollama, model, run, caplog
):
    fake_ollama.add_model("m", capabilities=["completion", "thinking"])
    fake_ollama.fail(400, NO_LEVELS)
    fake_ollama.reply("hi", times=3)

    agent = Agent("a", model=model, model_settings=thinking("medium"))
    for _ in range(2):
        assert (await run(agent, "hi", run_config=QUIET)).final_output == "hi"
    await run(agent.clone(model_settings=thinking("high")), "hi", run_config=QUIET)

    assert [chat["think"] for chat in fake_ollama.chats] == ["medium", True, True, True]
    assert caplog.text.count("the level of reasoning.effort") == 1


async def test_levels_of_thinking_are_remembered_for_each_model(fake_ollama, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    for name in ("old", "new"):
        fake_ollama.add_model(name, capabilities=["completion", "thinking"])
    fake_ollama.fail(400, NO_LEVELS)
    fake_ollama.reply("hi", times=3)

    for name in ("old", "new", "old"):
        agent = Agent("a", model=provider.get_model(name), model_settings=thinking("low"))
        await run(agent, "hi", run_config=QUIET)

    assert [(chat["model"], chat["think"]) for chat in fake_ollama.chats] == [
        ("old", "low"),
        ("old", True),
        ("new", "low"),
        ("old", True),
    ]


async def test_levels_of_thinking_are_remembered_for_every_spelling_of_a_model(fake_ollama, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    fake_ollama.add_model("m", capabilities=["completion", "thinking"])
    fake_ollama.fail(400, NO_LEVELS)
    fake_ollama.reply("hi", times=3)

    for name in ("m", "m:latest", "M"):
        agent = Agent("a", model=provider.get_model(name), model_settings=thinking("low"))
        await run(agent, "hi", run_config=QUIET)

    assert [chat["think"] for chat in fake_ollama.chats] == ["low", True, True, True]


async def test_a_server_that_refuses_plain_thinking_too_is_asked_twice_at_most(
    fake_ollama, model, run
):
    fake_ollama.fail(400, NO_LEVELS, times=2)

    with pytest.raises(CapabilityError, match="knows no levels of thinking"):
        await run(
            Agent("a", model=model, model_settings=thinking("medium")), "hi", run_config=QUIET
        )

    assert len(fake_ollama.chats) == 2


async def test_under_strict_validation_a_lost_level_is_an_error(fake_ollama, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)
    fake_ollama.fail(400, NO_LEVELS)
    agent = Agent("a", model=provider.get_model("m"), model_settings=thinking("medium"))

    with pytest.raises(UnsupportedInputError, match=r"the level of reasoning\.effort"):
        await run(agent, "hi", run_config=QUIET)
