import copy
import gc
import json
import threading
import traceback

import pytest
from agents import (
    Agent,
    CodeInterpreterTool,
    FileSearchTool,
    FunctionTool,
    HostedMCPTool,
    ImageGenerationTool,
    LocalShellTool,
    WebSearchTool,
    function_tool,
    handoff,
)
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from timestep.errors import UnsupportedInputError
from timestep.ollama.request.tools import ToolConversion, describe_tools
from timestep.testing.checks import check_chat


async def nothing(context, arguments):
    return ""


def tool(name="f", description="Does f.", schema=None, **more):
    return FunctionTool(
        name=name,
        description=description,
        params_json_schema={} if schema is None else schema,
        on_invoke_tool=nothing,
        strict_json_schema=False,
        **more,
    )


def convert(*tools, handoffs=()):
    converted = ToolConversion().convert(list(tools), list(handoffs))
    check_chat(json.dumps({"model": "m", "tools": [one.wire for one in converted]}).encode())
    return converted


class Place(BaseModel):
    city: str
    country: str | None = None


@function_tool
def weather(place: Place, days: int = 1) -> str:
    """The weather to come.

    Args:
        place: Where.
        days: How many days.
    """
    return ""


def test_a_function_tool_becomes_a_function_the_server_keeps_whole():
    (converted,) = convert(weather)

    assert converted.name == "weather"
    assert converted.wire["type"] == "function"
    function = converted.wire["function"]
    assert (function["name"], function["description"]) == ("weather", "The weather to come.")
    assert function["parameters"] == {
        "type": "object",
        "properties": {
            "place": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "country": {
                        "type": ["string", "null"],
                        "anyOf": [{"type": "string"}, {"type": "null"}],
                    },
                },
                "required": ["city", "country"],
                "description": "Where.",
            },
            "days": {"type": "integer", "description": "How many days. (default: 1)"},
        },
        "required": ["place", "days"],
    }


def test_handoffs_follow_the_tools():
    class Reason(BaseModel):
        why: str

    other = Agent(name="Other", handoff_description="For other things.")
    converted = convert(
        tool("a"),
        tool("b"),
        handoffs=[handoff(other), handoff(other, input_type=Reason, on_handoff=lambda c, r: None)],
    )

    assert [one.name for one in converted] == ["a", "b", "transfer_to_other", "transfer_to_other"]
    assert "For other things." in converted[2].description
    assert converted[2].wire["function"]["parameters"]["properties"] == {}
    assert converted[3].wire["function"]["parameters"]["properties"] == {"why": {"type": "string"}}


def test_what_the_schema_cannot_say_joins_the_description():
    (converted,) = convert(tool(schema={"type": "object", "minProperties": 1}))

    assert converted.description == "Does f.\n(minProperties: 1)"
    assert converted.wire["function"]["description"] == converted.description
    assert converted.note == "tool 'f': the server does not enforce schema: minProperties"


@pytest.mark.parametrize("schema", [{}, True, None, [], 5, {"type": "object"}])
def test_a_tool_without_parameters_takes_none(schema):
    (converted,) = convert(tool(schema={}) if schema is None else tool(schema=schema))

    assert converted.wire["function"]["parameters"] == {"type": "object", "properties": {}}
    Draft202012Validator.check_schema(converted.call_schema())


@pytest.mark.parametrize(
    ("hosted", "name"),
    [
        (WebSearchTool(), "web_search"),
        (FileSearchTool(vector_store_ids=["v"]), "file_search"),
        (
            CodeInterpreterTool(
                tool_config={"type": "code_interpreter", "container": {"type": "auto"}}
            ),
            "code_interpreter",
        ),
        (ImageGenerationTool(tool_config={"type": "image_generation"}), "image_generation"),
        (LocalShellTool(executor=lambda request: ""), "local_shell"),
        (None, "None"),
        ({"type": "function"}, "dict"),
    ],
)
def test_a_tool_that_only_openai_has_is_refused_by_name(hosted, name):
    with pytest.raises(UnsupportedInputError, match="function tool or an MCP server") as refused:
        convert(hosted)

    assert name in str(refused.value)


def test_the_refusal_keeps_the_keys_of_a_hosted_tool():
    hosted = HostedMCPTool(
        tool_config={"type": "mcp", "server_label": "x", "authorization": "sk-secret"}
    )
    with pytest.raises(UnsupportedInputError) as refused:
        convert(hosted)

    assert "sk-secret" not in "".join(traceback.format_exception(refused.value))


def test_a_feature_that_only_openai_has_is_refused_in_the_sdks_words():
    with pytest.raises(UnsupportedInputError, match="defer_loading") as refused:
        convert(tool(defer_loading=True))

    assert refused.value.__cause__ is not None


def test_a_call_is_described_by_the_tools_own_schema():
    schema = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/N"}},
        "required": ["n"],
        "$defs": {"N": {"type": "integer", "minimum": 1}},
    }
    before = copy.deepcopy(schema)
    (converted,) = convert(tool(schema=schema))
    call = Draft202012Validator(converted.call_schema())

    assert call.is_valid({"name": "f", "arguments": {"n": 1}})
    for wrong in (
        {"name": "g", "arguments": {"n": 1}},
        {"name": "f", "arguments": {"n": 0}},
        {"name": "f"},
        {"name": "f", "arguments": {"n": 1}, "more": 1},
    ):
        assert not call.is_valid(wrong)
    assert schema == before
    assert converted.source is schema


def test_tools_are_described():
    tools = convert(tool("f", "Does ü."), tool("g", "", {"properties": {"x": {"const": "ü"}}}))
    assert describe_tools(tools) == (
        '- f: Does ü.\n  arguments: {"type": "object", "properties": {}}\n'
        "- g: no description\n"
        '  arguments: {"type": "object", "properties": {"x": {"type": "string", "enum": ["ü"]}}}'
    )


def test_the_same_tool_is_converted_once():
    conversion, offered = ToolConversion(), tool()

    assert conversion.convert([offered], [])[0] is conversion.convert([offered], [])[0]
    assert conversion.convert([tool()], [])[0] is not conversion.convert([offered], [])[0]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "g"},
        {"description": "Does g."},
        {"params_json_schema": {"properties": {"x": {"type": "null"}}}},
    ],
)
def test_a_changed_tool_is_converted_again(change):
    conversion, offered = ToolConversion(), tool()
    before = conversion.convert([offered], [])[0]
    for name, value in change.items():
        setattr(offered, name, value)
    after = conversion.convert([offered], [])[0]

    assert after.wire != before.wire
    assert after is conversion.convert([offered], [])[0]


def test_a_changed_handoff_is_converted_again():
    conversion, offered = ToolConversion(), handoff(Agent(name="A"))
    conversion.convert([], [offered])
    offered.tool_name = "other"

    assert conversion.convert([], [offered])[0].name == "other"


def test_tools_that_are_gone_are_forgotten_and_never_taken_for_others():
    conversion = ToolConversion()
    for number in range(200):
        offered = tool(f"tool{number}")  # the id of one before, more often than not
        assert conversion.convert([offered], [])[0].name == f"tool{number}"
        offered.description = "changed"
        conversion.convert([offered], [])
    del offered
    gc.collect()

    assert conversion._known == {}


def test_threads_may_share_a_conversion():
    conversion, offered, errors = ToolConversion(), [tool(str(n)) for n in range(50)], []

    def convert_all():
        try:
            for _ in range(50):
                names = [one.name for one in conversion.convert(offered, [])]
                assert names == [one.name for one in offered]
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=convert_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
