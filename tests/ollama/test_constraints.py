"""Constraints that the server's grammar cannot take, through the Runner and over the wire."""

import json
from typing import Annotated

import pytest
from agents import Agent, ModelSettings, RunConfig, function_tool
from pydantic import BaseModel, Field

from timestep import OllamaModelProvider, UnsupportedInputError
from timestep.errors import OllamaStatusError
from timestep.testing import FakeOllama

QUIET = RunConfig(tracing_disabled=True)

# A constraint the server refuses, an answer that satisfies it, and whether only words say it.
REFUSED = {
    "digits": (Field(pattern=r"^\d{3}$"), "123", False),
    "word": (Field(pattern=r"^\w+$"), "ab_1", False),
    "no space": (Field(pattern=r"^\S+@\S+$"), "a@b", False),
    "no anchors": (Field(pattern=r"[0-9]"), "a1", True),
    "looks ahead": (Field(pattern=r"^\d{2}\b$"), "12", True),
    "2,000 at most": (Field(max_length=2000), "a", True),
    "2,000 at least": (Field(min_length=2000), "a" * 2000, True),
}
WORDS = {"pattern": "pattern", "maxLength": "longest", "minLength": "shortest"}
FIELDS = pytest.mark.parametrize(
    ("constraint", "value", "is_told"), REFUSED.values(), ids=list(REFUSED)
)


def system_of(chat):
    """Return what stands in the system message of *chat*, without escapes."""
    first = chat["messages"][0]
    return first["content"] if first["role"] == "system" else ""


@FIELDS
async def test_an_output_type_is_taken_and_what_is_not_enforced_is_told(
    fake_ollama, model, run, constraint, value, is_told
):
    class Answer(BaseModel):
        code: Annotated[str, constraint]

    fake_ollama.reply(json.dumps({"code": value}))

    result = await run(Agent("a", model=model, output_type=Answer), "hi", run_config=QUIET)

    assert result.final_output == Answer(code=value)
    (chat,) = fake_ollama.chats
    assert chat["format"]["required"] == ["code"]
    assert ('"code"' in system_of(chat)) is is_told


@FIELDS
async def test_a_forced_call_is_taken(fake_ollama, model, run, constraint, value, is_told):
    seen = []

    @function_tool
    def save(code: Annotated[str, constraint]) -> str:
        seen.append(code)
        return "saved"

    agent = Agent("a", model=model, tools=[save], model_settings=ModelSettings(tool_choice="save"))
    fake_ollama.reply(json.dumps({"name": "save", "arguments": {"code": value}}))
    fake_ollama.reply("Done.")

    result = await run(agent, "hi", run_config=QUIET)

    assert (result.final_output, seen) == ("Done.", [value])
    first = fake_ollama.chats[0]
    schema = save.params_json_schema["properties"]["code"]
    (keyword,) = WORDS.keys() & schema.keys()
    told = first["tools"][0]["function"]["parameters"]["properties"]["code"]["description"]
    assert WORDS[keyword] in told


@FIELDS
async def test_emulated_tools_are_taken(fake_ollama, run, constraint, value, is_told):
    @function_tool
    def save(code: Annotated[str, constraint]) -> str:
        return f"saved {len(code)}"

    fake_ollama.add_model("plain", capabilities=["completion"])
    plain = OllamaModelProvider(base_url=fake_ollama.url, tool_emulation=True).get_model("plain")
    fake_ollama.reply(json.dumps({"name": "save", "arguments": {"code": value}}))
    fake_ollama.reply(json.dumps({"answer": "Done."}))

    result = await run(Agent("a", model=plain, tools=[save]), "hi", run_config=QUIET)

    assert result.final_output == "Done."
    assert fake_ollama.chats[1]["messages"][-1]["content"] == f"Result of save: saved {len(value)}"


async def test_an_emulated_answer_with_a_lost_constraint_is_told(fake_ollama, run):
    class Answer(BaseModel):
        code: Annotated[str, Field(pattern="[0-9]")]

    @function_tool
    def noop() -> str:
        return ""

    fake_ollama.add_model("plain", capabilities=["completion"])
    plain = OllamaModelProvider(base_url=fake_ollama.url, tool_emulation=True).get_model("plain")
    fake_ollama.reply(json.dumps({"answer": {"code": "a1"}}))

    result = await run(
        Agent("a", model=plain, tools=[noop], output_type=Answer), "hi", run_config=QUIET
    )

    assert result.final_output == Answer(code="a1")
    assert '"pattern": "[0-9]"' in system_of(fake_ollama.chats[0])


async def test_an_answer_against_a_constraint_that_was_only_told_is_asked_for_again(
    fake_ollama, model, run
):
    class Answer(BaseModel):
        code: Annotated[str, Field(pattern="[0-9]")]

    fake_ollama.reply('{"code": "a"}')
    fake_ollama.reply('{"code": "a1"}')

    result = await run(Agent("a", model=model, output_type=Answer), "hi", run_config=QUIET)

    assert result.final_output == Answer(code="a1")
    assert '"pattern": "[0-9]"' in fake_ollama.chats[1]["messages"][-1]["content"]


async def test_a_pattern_in_a_description_is_escaped_once(fake_ollama, model, run):
    @function_tool
    def save(code: Annotated[str, Field(pattern=r"^\d{3}$")]) -> str:
        return ""

    fake_ollama.reply("Done.")
    await run(Agent("a", model=model, tools=[save]), "hi", run_config=QUIET)

    sent = fake_ollama.chats[0]["tools"][0]["function"]["parameters"]["properties"]["code"]
    assert sent["description"] == r"(pattern: ^\d{3}$)"


# A server that takes less than the one whose rules we know: its words, and what is taken out.
class Order(BaseModel):
    code: Annotated[str, Field(pattern="^[a-z]+$")]
    note: Annotated[str, Field(max_length=100)]
    lines: Annotated[list[str], Field(min_length=1)]


GOOD = '{"code": "a", "note": "b", "lines": ["c"]}'
ORDER = Order(code="a", note="b", lines=["c"])
CONVERSION = "Field 'json_schema': \"json_schema\": JSON schema conversion failed:\n"
WORDS_OF_REFUSALS = {
    "parser": (
        "Failed to initialize samplers: failed to parse grammar",
        {"pattern", "maxLength", "minItems"},
        "code: pattern, note: maxLength, lines: minItems",
    ),
    "pattern": (f"{CONVERSION}Unbalanced parentheses", {"pattern"}, "code: pattern"),
    "schema": (
        CONVERSION + 'Unrecognized schema: {"maxLength":100,"title":"Note","type":"string"}',
        {"maxLength"},
        "note: ",
    ),
}
REFUSALS = pytest.mark.parametrize(
    ("words", "taken_out", "fields"), WORDS_OF_REFUSALS.values(), ids=list(WORDS_OF_REFUSALS)
)


def refuse(fake, words, times=1):
    inner = {"error": {"code": 400, "message": words, "type": "invalid_request_error"}}
    fake.fail(400, json.dumps(inner), times=times)


def keywords(value):
    """Return every key in *value* and below."""
    if isinstance(value, list):
        return {key for item in value for key in keywords(item)}
    if isinstance(value, dict):
        return value.keys() | {key for item in value.values() for key in keywords(item)}
    return set()


@REFUSALS
async def test_a_refused_constraint_is_taken_out_once_and_told(
    fake_ollama, model, run, caplog, words, taken_out, fields
):
    refuse(fake_ollama, words)
    fake_ollama.reply(GOOD)

    result = await run(Agent("a", model=model, output_type=Order), "hi", run_config=QUIET)

    assert result.final_output == ORDER
    first, second = fake_ollama.chats
    before, after = keywords(first["format"]), keywords(second["format"])
    assert before - after >= taken_out
    assert {"pattern", "maxLength", "minItems"} - taken_out <= after
    assert '"pattern": "^[a-z]+$"' in system_of(second)
    assert "a constraint of the schema" in caplog.text


@REFUSALS
async def test_a_schema_that_is_refused_twice_is_an_error_that_names_its_fields(
    fake_ollama, model, run, words, taken_out, fields
):
    refuse(fake_ollama, words, times=2)

    with pytest.raises(OllamaStatusError) as caught:
        await run(Agent("a", model=model, output_type=Order), "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == 2
    assert caught.value.status_code == 400
    assert words.rpartition(": ")[2][:20] in str(caught.value)
    assert f"Leaving out {fields}" in str(caught.value)


async def test_a_refusal_of_a_schema_with_nothing_to_take_out_is_an_error(fake_ollama, model, run):
    class Plain(BaseModel):
        code: str

    refuse(fake_ollama, "Failed to initialize samplers: failed to parse grammar")

    with pytest.raises(OllamaStatusError, match=r"failed to parse grammar\. Choose a simpler type"):
        await run(Agent("a", model=model, output_type=Plain), "hi", run_config=QUIET)


@pytest.mark.parametrize(
    "written",
    [
        "json",
        {"anyOf": [True, {"type": "string", "maxLength": 3}]},
        {"properties": {"a": True}, "maxLength": 3},
        {"properties": ["a"], "anyOf": "x", "items": 5, "$defs": None, "maxLength": 3},
    ],
)
async def test_a_refused_format_of_the_caller_is_an_error_whatever_it_holds(run, written):
    settings = ModelSettings(extra_args={"format": written})

    with FakeOllama(strict=False) as fake:
        refuse(fake, "Failed to initialize samplers: failed to parse grammar", times=2)
        model = OllamaModelProvider(base_url=fake.url).get_model("m")
        with pytest.raises(OllamaStatusError, match="cannot make a grammar"):
            await run(Agent("a", model=model, model_settings=settings), "hi", run_config=QUIET)


@REFUSALS
async def test_a_refused_schema_of_a_call_is_relaxed_too(
    fake_ollama, model, run, words, taken_out, fields
):
    @function_tool
    def order(
        code: Annotated[str, Field(pattern="^[a-z]+$")], note: Annotated[str, Field(max_length=100)]
    ) -> str:
        return "ordered"

    agent = Agent(
        "a", model=model, tools=[order], model_settings=ModelSettings(tool_choice="order")
    )
    refuse(fake_ollama, words)
    fake_ollama.reply(json.dumps({"name": "order", "arguments": {"code": "a", "note": "b"}}))
    fake_ollama.reply("Done.")

    assert (await run(agent, "hi", run_config=QUIET)).final_output == "Done."


async def test_a_strict_model_refuses_what_would_be_taken_out(fake_ollama, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)
    refuse(fake_ollama, "Failed to initialize samplers: failed to parse grammar")

    with pytest.raises(UnsupportedInputError, match="a constraint of the schema"):
        await run(
            Agent("a", model=provider.get_model("m"), output_type=Order), "hi", run_config=QUIET
        )


async def test_a_schema_is_relaxed_once_whatever_the_second_refusal_names(fake_ollama, model, run):
    refuse(fake_ollama, f"{CONVERSION}Unbalanced parentheses")
    refuse(fake_ollama, "Failed to initialize samplers: failed to parse grammar")

    with pytest.raises(OllamaStatusError, match="note: maxLength, lines: minItems"):
        await run(Agent("a", model=model, output_type=Order), "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == 2
