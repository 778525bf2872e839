"""What the fields of a batch line's body become, and which are refused by name."""

import pytest
from agents import ModelResponse, Usage
from openai.types.chat import ChatCompletion
from openai.types.responses import (
    Response,
    ResponseOutputMessage,
    ResponseOutputRefusal,
    ResponseOutputText,
)
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from timestep.batch.bodies import read_chat, read_responses, write_chat, write_responses
from timestep.batch.question import BadLineError, Question

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", **FUNCTION}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"stream": True}, "body.stream: a batch does not stream"),
        ({"previous_response_id": "resp_1"}, "body.previous_response_id: only OpenAI keeps this"),
        ({"conversation": "conv_1"}, "body.conversation: only OpenAI keeps this"),
        ({"prompt": {"id": "p"}}, "body.prompt: only OpenAI keeps this"),
        ({"background": True}, "body.background: only OpenAI keeps this"),
        ({"input": ""}, "body.input is empty"),
        ({"input": []}, "body.input is empty"),
        ({"input": 5}, "body.input is not a list of objects"),
        ({"model": 5}, "body.model is not text"),
        ({"instructions": ["x"]}, "body.instructions is not text"),
        ({"tools": [{"type": "web_search"}]}, "body.tools[0].type: only functions"),
        ({"tools": [TOOL, {"type": "function"}]}, "body.tools[1] has no name"),
        ({"tools": [{**TOOL, "parameters": "x"}]}, "body.tools[0].parameters is not an object"),
        ({"tool_choice": {"type": "web_search"}}, "body.tool_choice: write auto, required, none"),
        ({"text": {"format": {"type": "yaml"}}}, "body.text.format: write text, json_object"),
        ({"temperature": "hot"}, "body.temperature: Input should be a valid number"),
        ({"max_output_tokens": "x"}, "body.max_output_tokens: Input should be a valid integer"),
        ({"include": 5}, "body.include: Input should be a valid list"),
    ],
)
def test_a_field_of_a_responses_body_that_cannot_be_asked_is_named(field, said):
    body = {"model": "m", "input": "Hi", **field}
    with pytest.raises(BadLineError) as caught:
        read_responses(body)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"tool_choice": {"type": "web_search"}}, "body.tool_choice: write auto, required, none"),
        ({"tools": [{"type": "function"}]}, "body.tools[0].function has no name"),
        ({"messages": [{"role": "user"}]}, "body.messages[0].content is not a list of objects"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "parts are text,"),
        ({"messages": [{"role": "system", "content": [{"text": 5}]}]}, "content is not text"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]},
            "body.messages[0].tool_calls.function has no name",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": 5, "content": "x"}]},
            "body.messages[0].tool_call_id is not text",
        ),
        ({"reasoning_effort": 5}, "body.reasoning_effort: Input should be 'none'"),
        (
            {"max_completion_tokens": "x"},
            "body.max_completion_tokens: Input should be a valid integer",
        ),
    ],
)
def test_a_field_of_a_chat_body_that_cannot_be_asked_is_named(field, said):
    with pytest.raises(BadLineError) as caught:
        read_chat({**ASKED, **field})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "becomes"),
    [("required", "required"), ({"type": "function", "name": "f"}, "f")],
)
def test_settings_of_a_responses_body_become_model_settings(choice, becomes):
    settings = read_responses(
        {
            "input": "Hi",
            "tools": [TOOL],
            "tool_choice": choice,
            "text": {"verbosity": "low"},
            "reasoning": {"effort": "high"},
            "include": ["reasoning.encrypted_content"],
            "safety_identifier": "u1",
            "temperature": None,
        }
    ).settings
    assert settings.tool_choice == becomes
    assert settings.verbosity == "low"
    assert settings.reasoning.effort == "high"
    assert settings.response_include == ["reasoning.encrypted_content"]
    assert settings.extra_body == {"safety_identifier": "u1"}
    assert settings.temperature is None


@pytest.mark.parametrize(
    ("choice", "becomes"),
    [("none", "none"), ({"type": "function", "function": {"name": "f"}}, "f")],
)
def test_settings_that_chat_alone_knows_become_model_settings(choice, becomes):
    settings = read_chat(
        {
            **ASKED,
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": choice,
            "reasoning_effort": "low",
            "logprobs": True,
            "seed": 7,
        }
    ).settings
    assert settings.tool_choice == becomes
    assert settings.reasoning.effort == "low"
    assert settings.top_logprobs == 0
    assert settings.extra_args == {"seed": 7}


def test_parts_of_a_chat_become_parts_of_an_input_item():
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"text": "brief."}]},
        {"role": "user", "content": parts},
    ]

    [first, second] = read_chat({"messages": messages}).input

    assert first == {"role": "developer", "content": "Be\nbrief."}
    assert second["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "input_file", "file_id": "file-1"},
    ]


def answered(content, status="completed", usage=None):
    message = ResponseOutputMessage(
        id="msg_1", type="message", role="assistant", status=status, content=content
    )
    return ModelResponse(output=[message], usage=usage or Usage(), response_id=None)


MADE = {"answer_id": "a", "created": 1}


@pytest.mark.parametrize(("status", "finish"), [("completed", "stop"), ("incomplete", "length")])
def test_a_refusal_and_a_cut_answer_are_written_as_openai_writes_them(status, finish):
    answer = answered([ResponseOutputRefusal(type="refusal", refusal="I cannot.")], status)
    question = Question(model="m", instructions=None, input="Hi")

    chat = ChatCompletion.model_validate(write_chat(answer, question, **MADE))
    response = Response.model_validate(write_responses(answer, question, **MADE))

    assert chat.choices[0].finish_reason == finish
    assert chat.choices[0].message.refusal == "I cannot."
    assert response.status == status
    reason = response.incomplete_details and response.incomplete_details.reason
    assert reason == (None if status == "completed" else "max_output_tokens")


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, "auto"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
    ],
)
def test_a_response_says_what_was_offered(choice, written):
    body = {"input": "Hi", "tools": [TOOL], "tool_choice": choice, "parallel_tool_calls": False}

    response = Response.model_validate(write_responses(answered([]), read_responses(body), **MADE))

    assert response.model_dump(exclude_unset=True)["tool_choice"] == written
    assert response.parallel_tool_calls is False
    assert [(tool.name, tool.parameters) for tool in response.tools] == [("f", TOOL["parameters"])]


def test_a_chat_completion_keeps_log_probabilities_and_details_of_usage():
    logprob = {"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}
    text = ResponseOutputText(type="output_text", text="Hi", annotations=[], logprobs=[logprob])
    usage = Usage(
        input_tokens=9,
        output_tokens=5,
        total_tokens=14,
        input_tokens_details=InputTokensDetails(cached_tokens=4, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=3),
    )

    written = write_chat(answered([text], usage=usage), read_chat(ASKED), **MADE)
    chat = ChatCompletion.model_validate(written)

    assert chat.choices[0].logprobs.content[0].logprob == -0.1
    assert chat.usage.prompt_tokens_details.cached_tokens == 4
    assert chat.usage.completion_tokens_details.reasoning_tokens == 3
