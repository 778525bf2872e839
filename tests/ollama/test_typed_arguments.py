"""Types reach the parsers that read arguments by them, through the Runner and over the wire."""

import json

import pytest
from agents import Agent, FunctionTool, RunConfig

from timestep import OllamaModelProvider, UnsupportedInputError

QUIET = RunConfig(tracing_disabled=True)
ARRAY = {"type": "array", "items": {"type": "integer"}}

# The schema of one argument, with its definitions; what the model means; what the server is told.
ARGUMENTS = {
    "an optional union behind a reference": (
        {"anyOf": [{"$ref": "#/$defs/U"}, {"type": "null"}]},
        {"U": {"anyOf": [{"type": "integer"}, ARRAY]}},
        [1, 2],
        ["integer", "array", "null"],
    ),
    "an integer in it": (
        {"anyOf": [{"$ref": "#/$defs/U"}, {"type": "null"}]},
        {"U": {"anyOf": [{"type": "integer"}, ARRAY]}},
        3,
        ["integer", "array", "null"],
    ),
    "nothing in it": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {}, None, ["integer", "null"]),
    "oneOf": ({"oneOf": [{"type": "boolean"}, {"type": "string"}]}, {}, True, ["boolean", "string"]),
    "enum": ({"enum": [1, 2]}, {}, 2, ["integer"]),
    "const": ({"const": True}, {}, True, ["boolean"]),
    "properties": ({"properties": {"a": {"type": "integer"}}}, {}, {"a": 1}, ["object"]),
    "optional properties": (
        {"anyOf": [{"properties": {"a": {"type": "integer"}}}, {"type": "null"}]},
        {},
        {"a": 1},
        ["object", "null"],
    ),
    "items": ({"items": {"type": "integer"}}, {}, [1], ["array"]),
    "other properties": ({"additionalProperties": {"type": "integer"}}, {}, {"a": 1}, ["object"]),
    "allOf": (
        {"allOf": [{"properties": {"a": {}}}, {"type": "object", "properties": {"b": {}}}]},
        {},
        {"a": 1, "b": [2]},
        ["object"],
    ),
    "a limit": ({"minimum": 1}, {}, 2, ["number"]),
    "anything": ({}, {}, {"a": [1]}, ["string", "number", "boolean", "object", "array", "null"]),
    "text that looks like a number": ({"type": "string"}, {}, "12", ["string"]),
    "an enum of texts": ({"enum": ["1", "2"]}, {}, "1", ["string"]),
}  # a table reads better in rows # fmt: skip


def tool_of(schema, definitions, seen):
    async def save(context, arguments):
        seen.append(json.loads(arguments))
        return "saved"

    parameters = {"type": "object", "properties": {"value": schema}, "$defs": definitions}
    return FunctionTool("save", "Saves.", parameters, save, strict_json_schema=False)


@pytest.mark.parametrize(
    ("schema", "definitions", "value", "types"), ARGUMENTS.values(), ids=ARGUMENTS
)
async def test_an_argument_written_as_text_arrives_with_its_type(
    fake_ollama, model, run, schema, definitions, value, types
):
    fake_ollama.reply(tool_calls=[("save", {"value": value})], text_arguments=True)
    fake_ollama.reply("Done.")
    seen = []

    await run(
        Agent("a", model=model, tools=[tool_of(schema, definitions, seen)]), "hi", run_config=QUIET
    )

    assert seen == [{"value": value}]
    (tool,) = fake_ollama.chats[0]["tools"]
    sent = tool["function"]["parameters"]["properties"]["value"]
    assert sent["type"] == (types[0] if len(types) == 1 else types)
    for arm in sent.get("anyOf", []):
        assert arm["type"]
        assert "anyOf" not in arm


async def test_old_templates_that_need_a_type_render_every_property(fake_ollama, provider, run):
    fake_ollama.add_model("old", needs_types=True)
    fake_ollama.reply("Done.")
    agent = Agent(
        "a",
        model=provider.get_model("old"),
        tools=[tool_of({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {}, [])],
    )

    assert (await run(agent, "hi", run_config=QUIET)).final_output == "Done."


@pytest.mark.parametrize("kind", ["first", "one"])
async def test_models_that_take_one_system_message_get_all_instructions_in_it(
    fake_ollama, provider, run, kind
):
    fake_ollama.add_model("m", system_messages=kind)
    fake_ollama.reply("Done.")
    model = provider.get_model("m")
    items = [{"role": "developer", "content": "And short."}, {"role": "user", "content": "hi"}]

    await run(Agent("a", instructions="Be kind.", model=model), items, run_config=QUIET)

    assert [message["role"] for message in fake_ollama.chats[0]["messages"]] == ["system", "user"]
    assert fake_ollama.chats[0]["messages"][0]["content"] == "Be kind.\n\nAnd short."


FOREIGN = {"anyOf": [{"$ref": "https://schemas.example/a.json"}, {"$ref": "#/$defs/Gone"}]}


async def test_a_reference_out_of_the_schema_is_named_in_one_warning(
    fake_ollama, model, run, caplog
):
    fake_ollama.reply("Done.", times=2)
    agent = Agent("a", model=model, tools=[tool_of({"type": "array", "items": FOREIGN}, {}, [])])

    for _ in range(2):
        await run(agent, "hi", run_config=QUIET)

    for ref in ("https://schemas.example/a.json", "#/$defs/Gone"):
        said = f"ignores the reference {ref!r} in the schema of the tool 'save'"
        assert caplog.text.count(said) == 1


async def test_under_strict_validation_a_reference_out_of_the_schema_is_an_error(fake_ollama, run):
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)
    tools = [tool_of(FOREIGN, {}, [])]

    with pytest.raises(UnsupportedInputError, match="its target is not in that schema"):
        await run(Agent("a", model=provider.get_model("m"), tools=tools), "hi", run_config=QUIET)

    assert fake_ollama.chats == []
