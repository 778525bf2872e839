"""The body of a chat completion equals the one that the SDK's own model sends."""

from dataclasses import replace
from typing import Literal

import pytest
from agents import Agent, AgentOutputSchema, ModelSettings, ModelTracing, function_tool, handoff
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from openai import AsyncOpenAI, Omit
from openai.types.shared import Reasoning
from pydantic import BaseModel, Field

from timestep import UnsupportedInputError
from timestep.answer.call import ModelCall
from timestep.openai.request import chat_body


class Weather(BaseModel):
    city: str
    days: list[int] = Field(max_length=3)


@function_tool
def weather(city: str, unit: Literal["c", "f"] = "c") -> str:
    """The weather.

    Args:
        city: Where.
        unit: Of the temperature.
    """
    return f"{city} {unit}"


ITEMS = {
    "text": "hi",
    "messages of every role": [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]},
    ],
    "parts": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "what is it?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"},
                {
                    "type": "input_file",
                    "file_data": "data:text/plain;base64,AA",
                    "filename": "a.txt",
                },
            ],
        }
    ],
    "a turn with calls, text and thinking": [
        {"role": "user", "content": "u"},
        {
            "id": "rs",
            "type": "reasoning",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}],
            "provider_data": {"model": "m"},
        },
        {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "let me see", "annotations": []}],
        },
        {"type": "function_call", "id": "f", "call_id": "c1", "name": "weather", "arguments": ""},
        {"type": "function_call", "id": "g", "call_id": "c2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "rain"}],
        },
    ],
    "a refusal": [
        {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "refusal", "refusal": "no"}],
        },
        {"role": "user", "content": "why?"},
    ],
}
SETTINGS = {
    "none": ModelSettings(),
    "sampling": ModelSettings(
        temperature=0.0, top_p=0.5, frequency_penalty=0.1, presence_penalty=0.2, max_tokens=7
    ),
    "a required tool": ModelSettings(tool_choice="required", parallel_tool_calls=False),
    "a named tool": ModelSettings(tool_choice="weather", parallel_tool_calls=True),
    "no tool": ModelSettings(tool_choice="none"),
    "effort": ModelSettings(reasoning=Reasoning(effort="low")),
    "logprobs": ModelSettings(top_logprobs=2),
    "logprobs in extra_args": ModelSettings(top_logprobs=2, extra_args={"logprobs": False}),
    "the rest": ModelSettings(
        verbosity="low",
        metadata={"a": "b"},
        store=False,
        prompt_cache_retention="24h",
        include_usage=False,
    ),
    "more fields": ModelSettings(
        extra_body={"top_k": 4, "temperature": 1}, extra_args={"seed": 3, "stop": ["x"]}
    ),
}


def ask(**changes):
    return replace(ModelCall(instructions=None, input="hi", settings=ModelSettings()), **changes)


async def sent_by_the_sdk(server, asked):
    async with AsyncOpenAI(api_key="k", base_url=server.base_url, max_retries=0) as client:
        async for _ in OpenAIChatCompletionsModel("m", client).stream_response(
            asked.instructions,
            asked.input,
            asked.settings,
            list(asked.tools),
            asked.output,
            list(asked.handoffs),
            ModelTracing.DISABLED,
        ):
            pass
    path, headers, body = server.requests[-1]
    return path, headers, body


def ours(asked, server):
    return chat_body(asked, model="m", base_url=server.base_url, include_usage=False)


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
async def test_items_are_sent_as_the_sdk_sends_them(items, openai_server):
    asked = ask(instructions="be brief", input=items)
    _, _, body = await sent_by_the_sdk(openai_server, asked)
    assert ours(asked, openai_server).body == body


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("tools", [[], [weather]], ids=["without tools", "with a tool"])
async def test_settings_are_sent_as_the_sdk_sends_them(settings, tools, openai_server):
    asked = ask(settings=settings, tools=tools)
    _, _, body = await sent_by_the_sdk(openai_server, asked)
    assert ours(asked, openai_server).body == body


def test_an_omitted_argument_is_not_sent(openai_server):
    omitted = ask(settings=ModelSettings(extra_args={"seed": Omit()}))
    assert ours(omitted, openai_server).body == ours(ask(), openai_server).body


async def test_schemas_and_handoffs_are_sent_as_the_sdk_sends_them(openai_server):
    asked = ask(output=AgentOutputSchema(Weather), handoffs=[handoff(Agent(name="Other one"))])
    _, _, body = await sent_by_the_sdk(openai_server, asked)
    assert ours(asked, openai_server).body == body


async def test_query_and_headers_of_a_request_are_kept(openai_server):
    asked = ask(settings=ModelSettings(extra_query={"v": 1}, extra_headers={"X-A": "b"}))
    path, headers, _ = await sent_by_the_sdk(openai_server, asked)
    found = ours(asked, openai_server)
    assert path.endswith("?v=1")
    assert found.query == {"v": 1}
    assert found.headers == {"X-A": "b"}
    assert headers["x-a"] == "b"


def test_usage_is_asked_for_unless_the_settings_say_no():
    def options(settings, **keywords):
        asked = ask(settings=settings)
        return chat_body(asked, model="m", base_url="http://h", **keywords).body.get(
            "stream_options"
        )

    assert options(ModelSettings()) == {"include_usage": True}
    assert options(ModelSettings(include_usage=False)) == {"include_usage": False}
    assert options(ModelSettings(), include_usage=False) is None


def test_settings_of_the_responses_api_are_listed_as_ignored():
    settings = ModelSettings(
        truncation="auto",
        response_include=["reasoning.encrypted_content"],
        reasoning=Reasoning(effort="low", summary="auto"),
    )
    found = chat_body(ask(settings=settings), model="m", base_url="http://h")
    assert found.ignored == ("truncation", "response_include", "reasoning.summary")
    assert found.body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (ModelSettings(extra_args={"top_k": 1}), "extra_args['top_k'] is not an argument"),
        (ModelSettings(temperature=1, extra_args={"temperature": 2}), "set by another setting too"),
        (ModelSettings(extra_body=["a"]), "extra_body is list"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_by_name(settings, words):
    with pytest.raises(UnsupportedInputError, match=r".") as caught:
        chat_body(ask(settings=settings), model="m", base_url="http://h")
    assert words in str(caught.value)


def messages(items, *, model="m"):
    return chat_body(ask(input=items), model=model, base_url="http://h").body["messages"]


def parts(*content):
    return [{"role": "user", "content": list(content)}]


WRONG_ITEMS = {
    "a number": ([5], "input[0] is int, not an item"),
    "text among items": ([{"role": "user", "content": "u"}, "hi"], "input[1] is str, not an item"),
    "a type that is a list": ([{"type": []}], "input[0].type is list"),
    "content that is a number": ([{"role": "user", "content": 5}], "input[0].content is int"),
    "a part that is a number": ([{"role": "user", "content": [5]}], "content part is int"),
    "text that is a number": (
        parts({"type": "input_text", "text": 5}),
        "input[0].content[0].text is int",
    ),
    "an image that is an object": (
        parts("look", {"type": "input_image", "image_url": {"url": "http://h"}}),
        "input[0].content[1].image_url is dict",
    ),
    "an address that is a number": (
        parts({"type": "image_url", "image_url": {"url": 5}}),
        "input[0].content[0].image_url.url is int",
    ),
    "a file that is a number": (parts({"type": "input_file", "file_data": 5}), "file_data is int"),
    "no role": ([{"content": "x"}], "input[0] has no role that a message can have"),
    "a role of no API": ([{"role": "bogus", "content": "x"}], "one of user, assistant, system"),
    "a role that is a list": ([{"role": [], "content": "x"}], "input[0] has no role"),
    "a call of a number": (
        [{"type": "function_call", "call_id": "c", "name": 5}],
        "input[0].name is int",
    ),
    "a result that is a number": (
        [{"type": "function_call_output", "call_id": "c", "output": 5}],
        "input[0].output is int",
    ),
    "a call without a name": (
        [
            {"type": "function_call", "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": ""},
        ],
        "wrong shape",
    ),
}


@pytest.mark.parametrize(("items", "words"), WRONG_ITEMS.values(), ids=WRONG_ITEMS)
def test_an_item_of_a_wrong_shape_is_refused_with_its_place(items, words):
    with pytest.raises(UnsupportedInputError, match=r".") as caught:
        messages(items)
    assert words in str(caught.value)
    assert "adapter" not in str(caught.value)  # no other API would take it


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
LENIENT = {
    "a message without content": ({"role": "user"}, {"role": "user", "content": ""}),
    "content that is None": ({"role": "user", "content": None}, {"role": "user", "content": ""}),
    "text as a part": (
        {"role": "user", "content": ["hi"]},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ),
    "a part of text without one": (
        {"role": "user", "content": [{"type": "input_text"}]},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
    ),
    "a result without output": (
        {"type": "function_call_output", "call_id": "c"},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    ),
    "a result without output whose call is gone": (
        {"type": "function_call_output", "call_id": "gone", "output": None},
        {"role": "user", "content": "Result of an earlier call: "},
    ),
}


@pytest.mark.parametrize(("item", "sent"), LENIENT.values(), ids=LENIENT)
def test_an_item_that_lacks_its_text_is_sent_with_none(item, sent):
    assert messages([CALL, item])[-1] == sent


def test_what_one_model_wants_back_is_not_sent_to_another():
    data = {"model": "m", "extra_content": {"google": {"thought_signature": "abc"}}}
    items = [
        {**CALL, "provider_data": data},
        {**CALL, "type": "function_call_output", "output": ""},
    ]
    [call] = messages(items)[0]["tool_calls"]
    assert call["extra_content"] == data["extra_content"]
    [call] = messages(items, model="other")[0]["tool_calls"]
    assert "extra_content" not in call


def test_an_item_that_the_api_has_no_place_for_is_refused_with_the_way_out():
    with pytest.raises(UnsupportedInputError, match='adapter = "sdk"'):
        chat_body(
            ask(input=[{"type": "item_reference", "id": "i"}]), model="m", base_url="http://h"
        )
