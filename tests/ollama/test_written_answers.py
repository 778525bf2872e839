"""Answers as models write them: calls and thinking in text, names with tokens, cut answers."""

import json

import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, function_tool
from pydantic import BaseModel, Field, ValidationError

from timestep import ConfigurationError, ModelOutputError, OllamaModelProvider
from timestep.errors import OllamaStreamError

QUIET = RunConfig(tracing_disabled=True)
TMP = {"folder": "/tmp/one"}
deleted = []


@pytest.fixture(autouse=True)
def nothing_deleted():
    deleted.clear()


@function_tool
def delete_files(folder: str = "/") -> str:
    """Delete the files of a folder."""
    deleted.append(folder)
    return "deleted"


def agent(fake_ollama, *, settings=None, output=None, **keywords):
    model = OllamaModelProvider(base_url=fake_ollama.url, **keywords).get_model("m")
    tools = [] if settings is None else [delete_files]
    return Agent(
        "a",
        model=model,
        tools=tools,
        output_type=output,
        model_settings=settings or ModelSettings(),
    )


REQUIRED = ModelSettings(tool_choice="required")
FREE = ModelSettings()


@pytest.mark.parametrize("key", ["arguments", "parameters"])
@pytest.mark.parametrize(
    ("settings", "keywords"), [(REQUIRED, {}), (FREE, {"tool_emulation": True})]
)
async def test_a_call_runs_with_the_arguments_it_was_written_with(
    fake_ollama, run, key, settings, keywords
):
    fake_ollama.add_model("m", capabilities=["completion"] if keywords else ["completion", "tools"])
    fake_ollama.reply(json.dumps({"name": "delete_files", key: TMP}))
    fake_ollama.reply("Done.")

    await run(agent(fake_ollama, settings=settings, **keywords), "hi", run_config=QUIET)

    assert deleted == ["/tmp/one"]


@pytest.mark.parametrize("key", ["args", "input", "kwargs", "params"])
@pytest.mark.parametrize(
    ("settings", "keywords"),
    [(REQUIRED, {}), (FREE, {"tool_emulation": True}), (FREE, {"text_calls": True})],
)
async def test_a_call_with_arguments_under_another_name_is_asked_for_again(
    fake_ollama, run, key, settings, keywords
):
    emulates = "tool_emulation" in keywords
    fake_ollama.add_model("m", capabilities=["completion"] if emulates else ["completion", "tools"])
    fake_ollama.reply(json.dumps({"name": "delete_files", key: TMP}))
    fake_ollama.reply(json.dumps({"name": "delete_files", "arguments": TMP}))
    fake_ollama.reply("Done.")

    await run(agent(fake_ollama, settings=settings, **keywords), "hi", run_config=QUIET)

    assert deleted == ["/tmp/one"]
    told = fake_ollama.chats[1]["messages"][-1]["content"]
    assert f"the arguments belong under 'arguments', not under '{key}'" in told
    assert fake_ollama.chats[1]["format"]["properties"]["name"]["const"] == "delete_files"


@pytest.mark.parametrize(
    "written",
    [
        {"tool": "delete_files", "args": TMP},
        {"function": "delete_files", "arguments": TMP},
        {"delete_files": TMP},
    ],
)
async def test_an_emulated_call_in_another_form_is_asked_for_again(fake_ollama, run, written):
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.reply(json.dumps(written))
    fake_ollama.reply(json.dumps({"name": "delete_files", "arguments": TMP}))
    fake_ollama.reply("Done.")

    result = await run(
        agent(fake_ollama, settings=FREE, tool_emulation=True), "hi", run_config=QUIET
    )

    assert deleted == ["/tmp/one"]
    assert result.final_output == "Done."


@pytest.mark.parametrize(
    "text",
    [
        '{"city": "Oslo"}',
        '{"city": {"name": "Oslo"}}',
        '{"tool": "delete_files"}',
        '{"answer": {"delete_files": 1}}',
        "delete_files deletes files.",
    ],
)
async def test_an_emulated_answer_that_is_not_like_a_call_is_the_answer(fake_ollama, run, text):
    fake_ollama.add_model("m", capabilities=["completion"])
    fake_ollama.reply(text)

    result = await run(
        agent(fake_ollama, settings=FREE, tool_emulation=True), "hi", run_config=QUIET
    )

    assert result.final_output == text


@pytest.mark.parametrize(
    "name",
    [
        "delete_files<|channel|>commentary",
        "delete_files<|constrain|>json",
        "functions.delete_files",
        " delete_files",
    ],
)
@pytest.mark.parametrize("settings", [FREE, REQUIRED])
async def test_a_leaked_token_in_a_call_s_name_does_not_matter(fake_ollama, run, name, settings):
    fake_ollama.reply(tool_calls=[(name, TMP)])
    fake_ollama.reply("Done.")

    result = await run(agent(fake_ollama, settings=settings), "hi", run_config=QUIET)

    assert deleted == ["/tmp/one"]
    assert result.final_output == "Done."


CALL = json.dumps({"name": "delete_files", "parameters": TMP})


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"```json\n{CALL}\n```",
        f"```tool_call\n{CALL}\n```",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"<tool_call>{CALL}</tool_call><|im_end|>",
        f"<tool_call>{CALL}",
        f"<|tool_call|>[{CALL}]<|/tool_call|>",
        f"[TOOL_CALLS] [{CALL}]</s>",
        f"[{CALL}]",
        f"{CALL};",
    ],
)
@pytest.mark.parametrize("models", [True, ["other", "M:latest"]])
async def test_a_text_that_is_a_call_runs_where_that_is_wanted(fake_ollama, run, text, models):
    fake_ollama.reply(text)
    fake_ollama.reply("Done.")

    result = await run(agent(fake_ollama, settings=FREE, text_calls=models), "hi", run_config=QUIET)

    assert deleted == ["/tmp/one"]
    assert result.final_output == "Done."


HALF = CALL[:-5]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"text_calls": True}, f"<tool_call>{HALF}"),
        ({"text_calls": True}, f"<tool_call>{CALL}</tool_call><tool_call>{HALF}</tool_call>"),
        ({"text_calls": True}, HALF),
        ({"tool_emulation": True}, HALF),
    ],
)
async def test_half_a_call_in_a_whole_answer_is_asked_for_again(fake_ollama, run, options, text):
    own = [] if "tool_emulation" in options else ["tools"]
    fake_ollama.add_model("m", capabilities=["completion", *own])
    fake_ollama.reply(text)
    fake_ollama.reply(CALL)
    fake_ollama.reply("Done.")

    result = await run(agent(fake_ollama, settings=FREE, **options), "hi", run_config=QUIET)

    assert deleted == ["/tmp/one"]
    assert "its JSON ends too early" in fake_ollama.chats[1]["messages"][-1]["content"]
    assert result.final_output == "Done."


async def test_a_call_in_text_keeps_its_id_and_what_its_strings_hold(fake_ollama, run):
    arguments = {"folder": "/tmp/</tool_call>;"}
    wrapped = {
        "id": "call_mine",
        "type": "function",
        "function": {"name": "delete_files", "arguments": json.dumps(arguments)},
    }
    fake_ollama.reply(f"<tool_call>{json.dumps(wrapped)}</tool_call>")
    fake_ollama.reply("Done.")

    result = await run(agent(fake_ollama, settings=FREE, text_calls=True), "hi", run_config=QUIET)

    assert deleted == [arguments["folder"]]
    assert result.new_items[0].raw_item.call_id == "call_mine"


@pytest.mark.parametrize("models", [False, ["other"]])
async def test_a_text_that_is_a_call_is_text_elsewhere(fake_ollama, run, models):
    fake_ollama.reply(CALL)

    result = await run(agent(fake_ollama, settings=FREE, text_calls=models), "hi", run_config=QUIET)

    assert deleted == []
    assert result.final_output == CALL


@pytest.mark.parametrize(
    ("capabilities", "models", "thinking"),
    [
        (["completion"], True, "Hm"),
        (["completion"], ["m"], "Hm"),
        (["completion"], False, None),
        (["completion"], ["other"], None),
        (["completion", "thinking"], True, None),
    ],
)
async def test_thinking_in_tags_is_thinking_where_that_is_wanted(
    fake_ollama, run, capabilities, models, thinking
):
    fake_ollama.add_model("m", capabilities=capabilities)
    fake_ollama.reply("<think>Hm</think>\n\nHi")

    result = await run(agent(fake_ollama, think_tags=models), "hi", run_config=QUIET)

    first = result.raw_responses[0].output[0]
    assert result.final_output == ("Hi" if thinking else "<think>Hm</think>\n\nHi")
    assert (first.content[0].text if first.type == "reasoning" else None) == thinking


class Positive(BaseModel):
    f: float = Field(gt=0)


async def test_a_repair_says_what_the_validator_said(fake_ollama, run):
    fake_ollama.reply('{"f": 0}')
    fake_ollama.reply('{"f": 1}')

    result = await run(agent(fake_ollama, output=Positive), "hi", run_config=QUIET)

    *_, answered, told = fake_ollama.chats[1]["messages"]
    assert result.final_output == Positive(f=1)
    assert answered["content"] == '{"f": 0}'
    assert "f: Input should be greater than 0" in told["content"]


@pytest.mark.parametrize("repairs", [0, 2])
async def test_the_number_of_repairs_is_a_setting(fake_ollama, run, repairs):
    for _ in range(repairs + 1):
        fake_ollama.reply('{"f": 0}')

    with pytest.raises(Exception, match="did not match Positive"):
        await run(agent(fake_ollama, output=Positive, repairs=repairs), "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == repairs + 1


@pytest.mark.parametrize(
    ("settings", "options", "limit"),
    [
        (ModelSettings(max_tokens=5), None, "max_tokens=5"),
        (ModelSettings(max_tokens=5), {"num_predict": 9}, "max_tokens=5"),
        (None, {"num_predict": 9}, "num_predict=9"),
        (None, {"num_predict": -1}, "its own limit or the context window"),
        (None, None, "its own limit or the context window"),
    ],
)
async def test_a_cut_text_is_an_answer_and_one_warning(
    fake_ollama, run, caplog, settings, options, limit
):
    asked = agent(fake_ollama, options=options)
    asked.model_settings = settings or ModelSettings()
    for _ in range(2):
        fake_ollama.reply("Once upon", done_reason="length")

    for _ in range(2):
        result = await run(asked, "hi", run_config=QUIET)

    item = result.raw_responses[0].output[0]
    (warning,) = [record for record in caplog.records if "token limit" in record.message]
    assert result.final_output == "Once upon"
    assert item.status == "incomplete"
    assert item.provider_data["finish_reason"] == "length"
    assert f"({limit})" in warning.message


@pytest.mark.parametrize("settings", [FREE, REQUIRED])
async def test_a_call_in_a_cut_answer_is_never_run(fake_ollama, run, settings):
    settings = settings.resolve(ModelSettings(max_tokens=5))
    fake_ollama.reply(tool_calls=[("delete_files", TMP)], done_reason="length")

    with pytest.raises(
        Exception, match=r"token limit \(max_tokens=5\) when it called 'delete_files'"
    ):
        await run(agent(fake_ollama, settings=settings), "hi", run_config=QUIET)

    assert deleted == []


async def test_words_before_a_call_stay_before_it_with_an_output_type(fake_ollama, run):
    fake_ollama.reply("I look.", tool_calls=[("delete_files", TMP)])
    fake_ollama.reply('{"f": 1}')

    result = await run(agent(fake_ollama, settings=FREE, output=Positive), "hi", run_config=QUIET)

    assert [item.type for item in result.raw_responses[0].output] == ["message", "function_call"]
    assert result.final_output == Positive(f=1)


@pytest.mark.parametrize(("text", "thinking"), [(" \n", ""), ("", "Hm"), ("\n", "Hm")])
async def test_nothing_is_an_error_beside_tools_and_a_warning_without(
    fake_ollama, run, caplog, text, thinking
):
    fake_ollama.reply(text, thinking=thinking)
    with pytest.raises(Exception, match="gave an empty answer"):
        await run(agent(fake_ollama, settings=FREE), "hi", run_config=QUIET)

    fake_ollama.reply(text, thinking=thinking)
    result = await run(agent(fake_ollama), "hi", run_config=QUIET)

    assert result.final_output == text
    assert "gave an empty answer" in caplog.text


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_a_model_that_was_only_loaded_gave_no_answer(fake_ollama, run, reason):
    fake_ollama.reply("", done_reason=reason)

    with pytest.raises(OllamaStreamError, match=f"only {reason}ed 'm'"):
        await run(agent(fake_ollama), "hi", run_config=QUIET)


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"text_calls": 1}, "write True or False or a list of model names"),
        ({"think_tags": "m"}, "write True or False or a list of model names"),
        ({"think_tags": [1]}, "write True or False or a list of model names"),
        ({"repairs": -1}, "repairs: write a whole number from 0 to 10"),
        ({"repairs": "1"}, "repairs: write a whole number from 0 to 10"),
        ({"repairs": True}, "write a whole number"),
    ],
)
def test_a_wrong_keyword_is_refused(keywords, said):
    with pytest.raises(ConfigurationError, match=said):
        OllamaModelProvider(**keywords)


async def test_an_error_carries_the_answer_that_did_not_match(fake_ollama):
    fake_ollama.reply('{"f": 0}')
    asked = agent(fake_ollama, output=Positive, repairs=0)

    with pytest.raises(ModelOutputError) as raised:
        await Runner.run(asked, "hi", run_config=QUIET)

    assert raised.value.text == '{"f": 0}'
    assert isinstance(raised.value.__cause__, ValidationError)
    assert "f: Input should be greater than 0" in str(raised.value)
