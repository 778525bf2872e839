import base64
import itertools
import json
import re
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from openai.types.responses.response_input_param import ResponseInputItemParam

from timestep.errors import TimestepError, UnsupportedInputError
from timestep.net.encoding import encode
from timestep.ollama.request.content import decode_arguments, remote_images
from timestep.ollama.request.messages import build_conversation
from timestep.testing.checks import check_chat

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
DATA_URL = f"data:image/png;base64,{PNG}"
REMOTE = "https://example.com/cat.png"


def build(*items, model="m", **more):
    conversation = build_conversation(list(items), model=model, **more)
    check_chat(encode({"model": "m", "messages": conversation.messages}))
    return conversation


def messages(*items, **more):
    return build(*items, **more).messages


def user(content):
    return {"role": "user", "content": content}


def call(call_id, name="f", arguments='{"a": 1}'):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id, text="done"):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def refusal(*items, **more):
    with pytest.raises(UnsupportedInputError) as refused:
        build(*items, **more)
    return str(refused.value)


def test_text_is_a_user_message_after_the_instructions():
    assert build_conversation("hi", model="m", instructions="Be kind.").messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
    ]


# One message item, and the one message that it becomes.
MESSAGES = {
    "user": (user("hi"), user("hi")),
    "typed": ({"type": "message", **user("hi")}, user("hi")),
    "system": ({"role": "system", "content": "s"}, {"role": "system", "content": "s"}),
    "developer": ({"role": "developer", "content": "s"}, {"role": "system", "content": "s"}),
    "no content": ({"role": "user", "content": None}, user("")),
    "no parts": (user([]), user("")),
    "parts": (user([{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]), user("a\nb")),
    "one part": (user({"type": "input_text", "text": "a"}), user("a")),
    "bare strings": (user(["a", "b"]), user("a\nb")),
    "text that is null": (user([{"type": "input_text", "text": None}]), user("")),
    "data URL": (
        user([{"type": "input_image", "image_url": DATA_URL, "detail": "auto"}]),
        {**user(""), "images": [PNG]},
    ),
    "chat completions image": (
        user([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}]),
        {**user("a"), "images": [PNG]},
    ),
    "audio": (
        user([{"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}]),
        {**user(""), "images": [PNG]},
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("item", "message"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_becomes_a_message(item, message):
    assert messages(item) == [message]


# One assistant item, and the one message that it becomes.
TEXT = {"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}
ASSISTANT = {
    "easy": ({"role": "assistant", "content": "yes"}, {"content": "yes"}),
    "with an id": (
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": "final_answer",
            "content": [TEXT, TEXT],
        },
        {"content": "yesyes"},
    ),
    "without an id": ({"type": "message", "role": "assistant", "content": [TEXT]}, {"content": "yes"}),
    "easy with parts": ({"role": "assistant", "content": [TEXT]}, {"content": "yes"}),
    "extra keys": ({"role": "assistant", "content": "yes", "name": "Bot", "id": "x"}, {"content": "yes"}),
    "refusal": (
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"content": "no"},
    ),
    "empty": ({"role": "assistant", "content": ""}, {"content": ""}),
    "call": (
        call("call_1"),
        {
            "content": "",
            "tool_calls": [
                {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
            ],
        },
    ),
    "own reasoning": (
        {
            "type": "reasoning",
            "id": "__fake_id__",
            "summary": [{"type": "summary_text", "text": "short"}],
            "content": [{"type": "reasoning_text", "text": "ho"}, {"type": "reasoning_text", "text": "m"}],
            "provider_data": {"model": "m"},
        },
        {"content": "", "thinking": "hom"},
    ),
    "own reasoning, summary only": (
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "content": [],
            "provider_data": {"model": "m"},
        },
        {"content": "", "thinking": "hm"},
    ),
    "an item of the SDK": (
        ResponseFunctionToolCall(call_id="call_1", name="f", arguments="{}", type="function_call"),
        {
            "content": "",
            "tool_calls": [{"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {}}}],
        },
    ),
    "a message of the SDK": (
        ResponseOutputMessage(
            id="msg_1",
            role="assistant",
            status="completed",
            type="message",
            content=[ResponseOutputText(text="yes", type="output_text", annotations=[])],
        ),
        {"content": "yes"},
    ),
    "a part of the SDK": (
        {
            "role": "assistant",
            "content": [ResponseOutputText(text="yes", type="output_text", annotations=[])],
        },
        {"content": "yes"},
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("item", "message"), ASSISTANT.values(), ids=ASSISTANT)
def test_an_assistant_item_becomes_an_assistant_message(item, message):
    results = [output(made["id"]) for made in message.get("tool_calls", [])]

    assert messages(user("q"), item, *results)[:2] == [
        user("q"),
        {"role": "assistant", **message},
    ]


def system(text):
    return {"role": "system", "content": text}


def developer(text):
    return {"role": "developer", "content": text}


@pytest.mark.parametrize(
    ("instructions", "items", "sent"),
    [
        (
            "Be kind.",
            [system("And short."), user("q")],
            [system("Be kind.\n\nAnd short."), user("q")],
        ),
        (None, [system("a"), developer("b"), user("q")], [system("a\n\nb"), user("q")]),
        ("a", [developer("b"), system(""), system("c")], [system("a\n\nb\n\nc")]),
        ("a", [{"type": "item_reference", "id": "x"}, developer("b")], [system("a\n\nb")]),
        (
            "a",
            [user("q"), system("b"), user("r")],
            [system("a"), user("q"), system("b"), user("r")],
        ),
        (None, [user("q"), system("a"), system("b")], [user("q"), system("a"), system("b")]),
    ],
)
def test_system_items_at_the_head_are_one_message_and_later_ones_stay(instructions, items, sent):
    assert messages(*items, instructions=instructions) == sent


def test_a_turn_is_one_message():
    thought = {
        "type": "reasoning",
        "content": [{"type": "reasoning_text", "text": "think"}],
        "provider_data": {"model": "m"},
    }

    conversation = build(
        user("q"),
        thought,
        {"role": "assistant", "content": "Let me see."},
        call("call_1"),
        thought,
        call("call_2", "g", "{}"),
        {"role": "assistant", "content": "One moment."},
        output("call_2", "two"),
        output("call_1", "one"),
        call("call_3"),
        output("call_3"),
        {"role": "assistant", "content": "Done."},
    )

    assert conversation.messages == [
        user("q"),
        {
            "role": "assistant",
            "content": "Let me see.\n\nOne moment.",
            "thinking": "think\n\nthink",
            "tool_calls": [
                {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}},
                {"id": "call_2", "function": {"index": 1, "name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "two", "tool_name": "g", "tool_call_id": "call_2"},
        {"role": "tool", "content": "one", "tool_name": "f", "tool_call_id": "call_1"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_3", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
            ],
        },
        {"role": "tool", "content": "done", "tool_name": "f", "tool_call_id": "call_3"},
        {"role": "assistant", "content": "Done."},
    ]
    assert conversation.call_ids == {"call_1", "call_2", "call_3"}
    assert (conversation.ignored, conversation.notes, conversation.media) == ((), (), frozenset())


@pytest.mark.parametrize(
    "origin", [{}, {"provider_data": None}, {"provider_data": {"model": "other"}}, {"provider_data": "m"}]
)  # a table reads better in rows # fmt: skip
def test_reasoning_of_another_model_is_noted_and_not_replayed(origin):
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}], **origin}
    conversation = build(user("q"), item)

    assert conversation.messages == [user("q")]
    assert conversation.notes == ("reasoning of another model is not replayed",)


def test_an_empty_thought_is_nothing():
    thought = {"type": "reasoning", "summary": [], "provider_data": {"model": "m"}}

    assert messages(user("q"), thought) == [user("q")]


# What a tool gives back, and what the model is shown.
OUTPUTS = {
    "text": ("done", "done"),
    "nothing": (None, ""),
    "empty": ("", ""),
    "parts": ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "a\nb"),
    "one part": ({"type": "input_text", "text": "a"}, "a"),
    "strings": (["a", "b"], "a\nb"),
    "object": ({"t": 21, "ü": None}, '{"t": 21, "ü": null}'),
    "object with a type": ({"type": "reading", "t": 21}, '{"type": "reading", "t": 21}'),
    "list": ([1, {"a": 2}], '[1, {"a": 2}]'),
    "empty list": ([], "[]"),
    "number": (21.5, "21.5"),
    "false": (False, "false"),
}


@pytest.mark.parametrize(("value", "shown"), OUTPUTS.values(), ids=OUTPUTS)
def test_a_result_is_text_with_the_name_and_id_of_its_call(value, shown):
    *_, result = messages(user("q"), call("call_1"), output("call_1", value))

    assert result == {
        "role": "tool",
        "content": shown,
        "tool_name": "f",
        "tool_call_id": "call_1",
    }


def test_a_result_may_hold_images():
    parts = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": DATA_URL},
    ]
    conversation = build(user("q"), call("call_1"), output("call_1", parts))

    assert conversation.messages[-1]["images"] == [PNG]
    assert conversation.messages[-1]["content"] == "see"
    assert conversation.media == {"vision"}


def test_images_and_audio_need_different_capabilities():
    picture = {"type": "input_image", "image_url": DATA_URL}
    sound = {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}}

    assert build(user([sound])).media == {"audio"}
    assert build(user([sound, picture])).media == {"audio", "vision"}


def test_an_image_in_an_assistant_message_is_listed_and_needs_no_vision():
    item = {"role": "assistant", "content": [TEXT, {"type": "input_image", "image_url": PNG}]}
    conversation = build(user("q"), item)

    assert conversation.messages[-1] == {"role": "assistant", "content": "yes"}
    assert conversation.ignored == ("images in assistant messages",)
    assert conversation.media == frozenset()


CALL_ITEMS = {
    "computer": (
        {
            "type": "computer_call",
            "id": "cu_1",
            "call_id": "call_1",
            "status": "completed",
            "pending_safety_checks": [],
            "action": {"type": "click", "x": 1, "y": 2, "button": "left"},
        },
        {
            "type": "computer_call_output",
            "call_id": "call_1",
            "output": {"type": "computer_screenshot", "image_url": DATA_URL},
        },
        "computer",
        {
            "pending_safety_checks": [],
            "action": {"type": "click", "x": 1, "y": 2, "button": "left"},
        },
        "",
    ),
    "custom": (
        {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "SELECT 1"},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "1"},
        "sql",
        {"input": "SELECT 1"},
        "1",
    ),
    "custom with parts": (
        {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": ""},
        {
            "type": "custom_tool_call_output",
            "call_id": "call_1",
            "output": [{"type": "input_text", "text": "1"}],
        },
        "sql",
        {"input": ""},
        "1",
    ),
    "local shell": (
        {
            "type": "local_shell_call",
            "id": "ls_1",
            "call_id": "call_1",
            "status": "completed",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        {"type": "local_shell_call_output", "id": "call_1", "output": "a.txt"},
        "local_shell",
        {"action": {"type": "exec", "command": ["ls"], "env": {}}},
        "a.txt",
    ),
    "local shell of the SDK": (
        {"type": "local_shell_call", "call_id": "call_1", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "call_1", "output": "a.txt"},
        "local_shell",
        {"action": {"command": ["ls"]}},
        "a.txt",
    ),
    "shell": (
        {
            "type": "shell_call",
            "call_id": "call_1",
            "action": {"commands": ["ls"]},
            "environment": {"type": "local"},
            "caller": {"type": "direct"},
            "status": "completed",
        },
        {
            "type": "shell_call_output",
            "call_id": "call_1",
            "max_output_length": 100,
            "output": [
                {"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
            ],
        },
        "shell",
        {"action": {"commands": ["ls"]}},
        '[{"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]',
    ),
    "patch": (
        {
            "type": "apply_patch_call",
            "call_id": "call_1",
            "status": "completed",
            "operation": {"type": "delete_file", "path": "a.txt"},
        },
        {
            "type": "apply_patch_call_output",
            "call_id": "call_1",
            "status": "completed",
            "output": "gone",
        },
        "apply_patch",
        {"operation": {"type": "delete_file", "path": "a.txt"}},
        "gone",
    ),
    "patch without words": (
        {"type": "apply_patch_call", "call_id": "call_1", "operation": {"path": "a.txt"}},
        {"type": "apply_patch_call_output", "call_id": "call_1", "status": "failed"},
        "apply_patch",
        {"operation": {"path": "a.txt"}},
        '{"status": "failed"}',
    ),
}


@pytest.mark.parametrize(
    ("asked", "answered", "name", "arguments", "content"), CALL_ITEMS.values(), ids=CALL_ITEMS
)
def test_calls_of_openais_own_tools_are_calls(asked, answered, name, arguments, content):
    conversation = build(user("q"), asked, answered, {"role": "assistant", "content": "ok"})
    _, request, result, _ = conversation.messages

    assert request["tool_calls"] == [
        {"id": "call_1", "function": {"index": 0, "name": name, "arguments": arguments}}
    ]
    assert (result["tool_name"], result["tool_call_id"]) == (name, "call_1")
    assert result["content"] == content
    assert result.get("images", []) == ([PNG] if name == "computer" else [])
    assert conversation.ignored == ()


# Items of hosted tools, and every text of theirs that the model has to see.
HOSTED = {
    "web_search_call": (
        {
            "id": "ws_1",
            "status": "completed",
            "action": {
                "type": "search",
                "query": "weather",
                "sources": [{"type": "url", "url": "https://example.com"}],
            },
        },
        ["weather", "https://example.com"],
    ),
    "file_search_call": (
        {
            "id": "fs_1",
            "status": "completed",
            "queries": ["plan"],
            "results": [{"filename": "plan.md", "text": "The plan: rest.", "score": 0.5}],
        },
        ["plan.md", "The plan: rest."],
    ),
    "code_interpreter_call": (
        {
            "id": "ci_1",
            "status": "completed",
            "container_id": "cntr_1",
            "code": "print('2')",
            "outputs": [{"type": "logs", "logs": "two"}],
        },
        ["print('2')", "two"],
    ),
    "mcp_call": (
        {
            "id": "mcp_1",
            "server_label": "wiki",
            "name": "read",
            "arguments": '{"page": "Foo"}',
            "output": "Foo is a word.",
            "error": None,
        },
        ["wiki", "read", "page", "Foo is a word."],
    ),
    "mcp_approval_request": (
        {"id": "mcpr_1", "server_label": "wiki", "name": "edit", "arguments": '{"page": "Foo"}'},
        ["wiki", "edit", "page"],
    ),
    "mcp_approval_response": (
        {"approval_request_id": "mcpr_1", "approve": False, "reason": "too risky"},
        ['"approve": false', "too risky"],
    ),
    "tool_search_call": (
        {"call_id": None, "execution": "server", "arguments": {"query": "mail"}},
        ["mail"],
    ),
    "program": (
        {"id": "p", "call_id": "call_p", "code": "tools.f()", "fingerprint": "x"},
        ["tools.f()"],
    ),
    "program_output": (
        {"id": "p", "call_id": "call_p", "result": "three", "status": "completed"},
        ["three"],
    ),
    "image_generation_call": (
        {"id": "ig_1", "status": "completed", "result": PNG, "revised_prompt": "a cat"},
        ["a cat"],
    ),
    "something_new": ({"id": "sn_1", "words": "unheard of"}, ["unheard of"]),
    "something_new_call": ({"id": "sn_1", "call_id": None, "words": "unheard of"}, ["unheard of"]),
}


@pytest.mark.parametrize("kind", HOSTED)
def test_what_a_hosted_tool_did_is_told_in_words(kind):
    item, texts = HOSTED[kind]
    conversation = build(user("q"), {"type": kind, **item}, {"role": "assistant", "content": "ok"})
    _, told = conversation.messages

    assert told["role"] == "assistant"
    assert told["content"].startswith(f"[{kind}: {{")
    assert told["content"].endswith("}]\n\nok")
    assert all(text in told["content"].replace('\\"', '"') for text in texts)
    assert PNG not in told["content"]
    is_drawn = kind == "image_generation_call"
    assert conversation.ignored == (("the image of image_generation_call",) if is_drawn else ())


def test_an_image_that_was_never_drawn_is_not_missed():
    item = {"type": "image_generation_call", "id": "ig_1", "status": "failed", "result": None}

    assert build(user("q"), item).ignored == ()


@pytest.mark.parametrize(
    ("item", "phrase"),
    [
        ({"type": "item_reference", "id": "msg_1"}, "item_reference (only OpenAI can use it)"),
        ({"id": "msg_1"}, "item_reference (only OpenAI can use it)"),
        ({"id": "msg_1", "type": None}, "item_reference (only OpenAI can use it)"),
        ({"type": "compaction", "encrypted_content": "x"}, "compaction (only OpenAI can use it)"),
        ({"type": "compaction_trigger"}, "compaction_trigger (only OpenAI can use it)"),
        (
            {"type": "configuration_update", "reasoning": {"effort": "low"}},
            "configuration_update (only OpenAI can use it)",
        ),
        (
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [{"type": "mcp", "authorization": "sk-secret"}],
            },
            "additional_tools (only OpenAI can use it)",
        ),
    ],
)
def test_what_only_openai_can_use_is_listed_as_ignored(item, phrase):
    conversation = build(user("q"), item)

    assert conversation.messages == [user("q")]
    assert conversation.ignored == (phrase,)


@pytest.mark.parametrize("kind", ["mcp_list_tools", "tool_search_output"])
def test_lists_of_tools_are_noted_and_their_keys_stay_here(kind):
    tools = [{"type": "mcp", "server_label": "wiki", "authorization": "sk-secret"}]
    conversation = build(user("q"), {"type": kind, "id": "x", "tools": tools})

    assert conversation.messages == [user("q")]
    assert conversation.notes == (f"{kind} means nothing to the model",)


def test_every_input_item_of_openai_has_a_way():
    """A new item type of the SDK comes up here."""
    kinds = {
        kind
        for item in get_args(ResponseInputItemParam)
        for kind in re.findall(r"'(\w+)'", str(get_type_hints(item)["type"]))
    }
    seen = {
        *("message", "reasoning", "function_call", "function_call_output", "item_reference"),
        *("compaction", "compaction_trigger", "configuration_update", "additional_tools"),
        *("mcp_list_tools", "tool_search_output"),
        *HOSTED,
        *(
            item["type"]
            for asked, answered, *_ in CALL_ITEMS.values()
            for item in (asked, answered)
        ),
    }

    assert kinds - seen == set()
    assert len(kinds) > 20


# Arguments as some model wrote them, and as the server takes them.
ARGUMENTS = [
    ('{"a": 1}', {"a": 1}),
    (' {"a": {"b": [null, true, 1.5, "é"]}}\n', {"a": {"b": [None, True, 1.5, "é"]}}),
    ("", {}),
    (" \n", {}),
    (None, {}),
    ({"a": 1}, {"a": 1}),
    ({}, {}),
    ("[1]", {"_raw": "[1]"}),
    ('"text"', {"_raw": '"text"'}),
    ("null", {}),
    (" null ", {}),
    ("{bad", {"_raw": "{bad"}),
    ('{"a": 1} {"a": 2}', {"_raw": '{"a": 1} {"a": 2}'}),
    ('{"a": NaN}', {"_raw": '{"a": NaN}'}),
    ('{"a": [1, -Infinity]}', {"_raw": '{"a": [1, -Infinity]}'}),
    ('{"a": 1e999}', {"_raw": '{"a": 1e999}'}),
    (f'{{"a": 1{"0" * 400}}}', {"_raw": f'{{"a": 1{"0" * 400}}}'}),
    ('{"a": "\\ud800"}', {"_raw": '{"a": "\\ud800"}'}),
    ('{"a": 9007199254740993}', {"a": 9007199254740993}),
    ('{"a":' * 500 + "1" + "}" * 500, {"_raw": '{"a":' * 500 + "1" + "}" * 500}),
    ({"a": float("nan")}, {"_raw": '{"a": NaN}'}),
    ([1], {"_raw": "[1]"}),
    (5, {"_raw": "5"}),
]


@pytest.mark.parametrize(("written", "sent"), ARGUMENTS, ids=[repr(a)[:20] for a, _ in ARGUMENTS])
def test_arguments_become_an_object_the_server_can_read(written, sent):
    assert decode_arguments(written) == sent
    build(user("q"), call("call_1", arguments=written), output("call_1"))


@given(st.text() | st.none() | st.integers() | st.lists(st.floats()))
def test_no_arguments_stop_a_conversation(written):
    assert isinstance(decode_arguments(written), dict)


# What cannot be sent, and what the error says.
REFUSED = {
    "unknown role": ({"role": "tool", "content": ""}, "input[0] has the role 'tool'"),
    "no role": ({"content": "hi"}, "input[0] has the role None"),
    "odd role": ({"role": ["user"], "content": "hi"}, "input[0] has the role ['user']"),
    "odd type": ({"type": ["message"], "role": "user"}, "input[0] has the type ['message']"),
    "nothing at all": ({}, "input[0] has the role None"),
    "call without id": (
        {"type": "function_call", "name": "f", "arguments": "{}"},
        "input[0] is a tool call with the call_id None",
    ),
    "call without name": (call("call_1", None), "the name None"),
    "odd content": (user(5), "input[0].content is int"),
    "bytes": (user(b"hi"), "input[0].content is bytes"),
    "iterator": (user(iter([])), "input[0].content is list_iterator"),
    "odd part": (user([5]), "input[0].content[0] is int"),
    "unknown part": (user([{"type": "video"}]), "input[0].content[0] is 'video'"),
    "odd part type": (user([{"type": ["input_text"]}]), "input[0].content[0] is"),
    "file": (
        user([{"type": "input_file", "file_id": "file_1"}]),
        "input[0].content[0] is 'input_file'",
    ),
    "image by id": (
        user([{"type": "input_image", "file_id": "file_1"}]),
        "input[0].content[0] names an uploaded file",
    ),
    "image of none": (
        user([{"type": "input_image", "image_url": {"url": None}}]),
        "input[0].content[0] has the image_url None; write a data URL",
    ),
    "remote image": (
        user([{"type": "input_image", "image_url": REMOTE}]),
        "input[0].content[0] is a remote image",
    ),
    "no audio": (user([{"type": "input_audio"}]), "input[0].content[0] is empty"),
    "odd audio": (
        user([{"type": "input_audio", "input_audio": {"data": "?"}}]),
        "input[0].content[0] is not base64",
    ),
    "no item": (5, "input[0] is int"),
    "none": (None, "input[0] is NoneType"),
}


@pytest.mark.parametrize(("item", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_sent_is_refused_by_its_place(item, words):
    assert words in refusal(item)


def test_what_a_result_cannot_hold_is_refused_by_its_place():
    for part in ({"type": "input_file", "file_id": "f"}, {"type": "computer_screenshot"}):
        assert "input[2].output[0]" in refusal(user("q"), call("c"), output("c", [part]))

    ring = {}
    ring["ring"] = ring
    for value in (ring, {(1, 2): 3}):
        assert "input[2].output" in refusal(user("q"), call("c"), output("c", value))
        assert "JSON" in refusal(user("q"), {"type": "mcp_call", "output": value})
        assert "JSON" in refusal(user("q"), call("c", arguments=[value]))


@pytest.mark.parametrize("items", [None, 5, {"role": "user"}, b"hi", iter([])])
def test_input_that_is_no_list_is_refused(items):
    with pytest.raises(UnsupportedInputError):
        build_conversation(items, model="m")
    with pytest.raises(UnsupportedInputError):
        remote_images(items)


@pytest.mark.parametrize("items", [[], [{"type": "item_reference", "id": "msg_1"}]])
def test_an_input_of_nothing_is_refused(items):
    assert "holds nothing to send" in refusal(*items)
    assert messages(*items, instructions="Say hi.") == [{"role": "system", "content": "Say hi."}]


CALL_WORDS = '[Call without a result: {"name": "f", "arguments": {"a": 1}}]'
# Half a pair in the history, and the messages that it becomes.
HALVES = {
    "a result": (
        [output("call_9", "done"), user("and?")],
        [user("Result of an earlier call: done"), user("and?")],
    ),
    "a result without an id": (
        [{"type": "function_call_output", "name": "f", "output": "done"}],
        [user("Result of an earlier call: done")],
    ),
    "a result with an odd id": ([output(["call_1"])], [user("Result of an earlier call: done")]),
    "a result before its call": (
        [output("call_1"), call("call_1"), user("and?")],
        [
            user("Result of an earlier call: done"),
            {"role": "assistant", "content": CALL_WORDS},
            user("and?"),
        ],
    ),
    "a second result": (
        [call("call_1"), output("call_1"), output("call_1", "again")],
        [
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
            ]},
            {"role": "tool", "content": "done", "tool_name": "f", "tool_call_id": "call_1"},
            user("Result of f: again"),
        ],
    ),
    "a result with an image": (
        [output("call_9", [{"type": "input_image", "image_url": DATA_URL}])],
        [{**user("Result of an earlier call: "), "images": [PNG]}],
    ),
    "a call": (
        [{"role": "assistant", "content": "Let me see."}, call("call_1"), user("and?")],
        [{"role": "assistant", "content": f"Let me see.\n\n{CALL_WORDS}"}, user("and?")],
    ),
    "the first of two calls": (
        [call("call_1"), call("call_2", "g", "{}"), output("call_2")],
        [
            {"role": "assistant", "content": CALL_WORDS, "tool_calls": [
                {"id": "call_2", "function": {"index": 0, "name": "g", "arguments": {}}}
            ]},
            {"role": "tool", "content": "done", "tool_name": "g", "tool_call_id": "call_2"},
        ],
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("items", "sent"), HALVES.values(), ids=HALVES)
def test_half_a_pair_is_sent_as_words_in_its_place_and_named(items, sent):
    conversation = build(*items)

    assert conversation.messages == sent
    assert conversation.ignored
    assert all("it is sent as text" in phrase for phrase in conversation.ignored)


def test_a_history_of_the_assistant_alone_ends_with_a_user():
    nested = {"role": "assistant", "content": "<CONVERSATION HISTORY>"}
    thought = {"type": "reasoning", "content": [{"text": "t"}], "provider_data": {"model": "m"}}

    assert messages(thought, nested, instructions="Go on.") == [
        {"role": "system", "content": "Go on."},
        {"role": "user", "content": "<CONVERSATION HISTORY>"},
    ]
    assert messages(nested, call("call_1"), output("call_1"))[0]["role"] == "assistant"


def test_remote_images_are_found_where_images_may_be():
    def image(url):
        return {"type": "input_image", "image_url": url}

    items = [
        user([image(REMOTE), image(DATA_URL), {"type": "input_text", "text": REMOTE}]),
        call("call_1"),
        output("call_1", [image("http://a/1"), image(REMOTE)]),
        output("call_2", {"type": "computer_screenshot", "image_url": "http://a/2"}),
        output("call_3", {"image_url": "http://169.254.169.254/"}),
        user([{"type": "image_url", "image_url": {"url": "HTTP://a/3"}}, {"type": [], "image_url": "http://a"}]),
        {"role": "user", "content": REMOTE},
    ]  # a table reads better in rows # fmt: skip

    assert remote_images(items) == [REMOTE, "http://a/1", "http://a/2", "HTTP://a/3"]
    assert remote_images(REMOTE) == []


def test_fetched_images_are_sent():
    item = user([{"type": "input_image", "image_url": REMOTE}])

    assert messages(item, fetched={REMOTE: base64.b64decode(PNG)})[0]["images"] == [PNG]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TEXT_PARTS = st.builds(
    lambda kind, text: {"type": kind, "text": text},
    st.sampled_from(["input_text", "output_text", "text"]),
    TEXTS,
)
IMAGES = st.just({"type": "input_image", "image_url": DATA_URL})
CONTENTS = TEXTS | st.lists(TEXT_PARTS | IMAGES, max_size=3)
CALL_IDS = st.sampled_from(["call_1", "call_2", "call_3", "call_4"])
HISTORY_ITEMS = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "system", "developer"]),
        CONTENTS,
    ),
    st.builds(call, CALL_IDS, st.sampled_from("fg"), TEXTS | st.just('{"a": 1}')),
    st.builds(output, CALL_IDS, CONTENTS | st.dictionaries(TEXTS, TEXTS)),
    st.builds(
        lambda text, model: {
            "type": "reasoning",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": text}],
            "provider_data": {"model": model},
        },
        TEXTS,
        st.sampled_from(["m", "other"]),
    ),
    st.sampled_from([{"type": kind, **item} for kind, (item, _) in HOSTED.items()]),
    st.sampled_from([{"type": "item_reference", "id": "x"}, {"type": "compaction"}]),
)


HISTORIES = st.lists(HISTORY_ITEMS, max_size=12).map(lambda items: [*items, user("and?")])


def texts_of(item):
    if item.get("type") == "reasoning":
        return []
    content = item.get("content", item.get("output", ""))
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if isinstance(part, dict) and "text" in part]


@given(HISTORIES, st.none() | TEXTS)
def test_every_history_is_what_the_server_takes_and_says_everything_once(items, instructions):
    conversation = build_conversation(items, model="m", instructions=instructions)
    sent = conversation.messages

    check_chat(encode({"model": "m", "messages": sent}))
    for before, after in itertools.pairwise(sent):
        assert (before["role"], after["role"]) != ("assistant", "assistant")
    calls = [item for item in items if item.get("type") == "function_call"]
    outputs = [item for item in items if item.get("type") == "function_call_output"]
    assert conversation.call_ids == {made["call_id"] for made in calls}
    open_calls = []
    paired = 0
    for message in sent:
        if message["role"] == "tool":
            made = next(c for c in reversed(open_calls) if c["id"] == message["tool_call_id"])
            open_calls.remove(made)
            paired += 1
            assert message["tool_name"] == made["function"]["name"]
        made_here = message.get("tool_calls", [])
        open_calls += made_here
        assert [made["function"]["index"] for made in made_here] == list(range(len(made_here)))
    assert not open_calls
    said = "\0".join(message["content"] for message in sent)
    assert said.count("[Call without a result: ") == len(calls) - paired
    assert len(conversation.ignored) >= (len(calls) > paired) + (len(outputs) > paired)
    for item in items:
        assert all(text in said for text in texts_of(item))
    thoughts = "".join(message.get("thinking", "") for message in sent)
    for item in items:
        if item.get("type") == "reasoning" and item["provider_data"]["model"] == "m":
            assert item["content"][0]["text"] in thoughts
    assert all(message["role"] in {"system", "user", "assistant", "tool"} for message in sent)


@given(HISTORIES)
def test_a_history_is_not_changed_by_being_sent(items):
    before = json.dumps(items)
    conversation = build_conversation(items, model="m")
    again = build_conversation(items, model="m")

    assert json.dumps(items) == before
    assert again == conversation


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=2),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "output", "call_id", "id", "name", "arguments", "image_url", "url", "summary", "provider_data", "model", "input_audio", "data", "input", "result"]),
            below | st.sampled_from(["message", "user", "assistant", "function_call", "function_call_output", "reasoning", "input_image", "input_text", "input_audio", "computer_call", "custom_tool_call", "image_generation_call", "m", DATA_URL]),
            max_size=5,
        )
    ),
    max_leaves=15,
)  # a table reads better in rows # fmt: skip


@given(st.lists(ODD, max_size=4) | ODD)
def test_odd_input_is_sent_or_refused_and_nothing_else(items):
    try:
        remote_images(items)
        encode({"messages": build_conversation(items, model="m").messages})
    except TimestepError:
        pass
