import dataclasses
import json

import pytest
from agents import (
    Agent,
    AgentOutputSchema,
    FunctionTool,
    ModelSettings,
    handoff,
)
from agents.model_settings import MCPToolChoice
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from timestep.answer.rules import Reading, Repair, Rules
from timestep.errors import UnsupportedInputError
from timestep.net.encoding import encode
from timestep.ollama.model_options import OllamaModelOptions
from timestep.ollama.request.build import Abilities, build_request
from timestep.ollama.request.messages import build_conversation
from timestep.ollama.request.options import settings_to_fields
from timestep.ollama.request.repair import repair
from timestep.ollama.request.tools import ToolConversion
from timestep.testing import checks

NO_TOOLS = Abilities(capabilities=frozenset({"completion"}))
CLOUD = Abilities(enforces_format=False)


class Answer(BaseModel):
    """An answer."""

    words: str


OUTPUT = AgentOutputSchema(Answer)
PNG = "iVBORw0KGgo="


async def nothing(context, arguments):
    return ""


def tool(name, **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return FunctionTool(name, f"Does {name}.", schema, nothing, strict_json_schema=False)


CONVERSION = ToolConversion()
TWO = [tool("f", x={"type": "integer", "minimum": 0}), tool("g")]
HANDOFF = handoff(Agent(name="Other"))


def request(
    items="hi",
    *,
    instructions=None,
    tools=(),
    handoffs=(),
    output=None,
    abilities=None,
    emulate_tools=False,
    **settings,
):
    """The request, after it has passed the server's own checks."""
    model_settings = ModelSettings(**settings)
    built = build_request(
        model="m",
        conversation=build_conversation(items, model="m", instructions=instructions),
        fields=settings_to_fields(model_settings, OllamaModelOptions()),
        settings=model_settings,
        tools=CONVERSION.convert(list(tools), list(handoffs)),
        output=output,
        abilities=abilities or Abilities(),
        emulate_tools=emulate_tools,
        rules=Rules(),
    )
    accepted(built)
    return built


def accepted(built):
    chat = checks.check_chat(encode(built.body))
    checks.check_options(chat.get("options") or {})
    checks.check_format(chat.get("format"))


def names(built):
    return [offered["function"]["name"] for offered in built.body.get("tools", [])]


def allows(schema, value):
    return Draft202012Validator(schema).is_valid(value)


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def system(built):
    first = built.body["messages"][0]
    return first["content"] if first["role"] == "system" else ""


def test_a_plain_request_is_its_messages():
    built = request("hi", instructions="Be kind.")

    assert built.body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
        ],
        "stream": True,
        "truncate": False,
    }
    assert (built.rules.reading, built.tools, built.rules.must_call) == (Reading.LIVE, (), False)
    assert (built.ignored, built.notes, built.headers) == ((), (), {})


def test_settings_reach_the_body():
    built = request(
        temperature=0.5,
        extra_headers={"X-A": "1"},
        extra_body={"raw": True, "truncate": True, "options": {"seed": 1}},
        store=True,
    )

    assert built.body["options"] == {"temperature": 0.5, "seed": 1}
    assert (built.body["raw"], built.body["truncate"]) == (True, True)
    assert built.headers == {"X-A": "1"}
    assert built.ignored == ("store",)


def test_what_the_history_could_not_say_is_passed_on_once():
    reference = {"type": "item_reference", "id": "msg_1"}
    built = request([{"role": "user", "content": "q"}, reference, reference])

    assert built.ignored == ("item_reference (only OpenAI can use it)",)


# tool_choice, what is offered, and whether a call has to come.
CHOICES = {
    None: (["f", "g", "transfer_to_other"], False),
    "auto": (["f", "g", "transfer_to_other"], False),
    "none": ([], False),
    "required": (["f", "g", "transfer_to_other"], True),
    "g": (["g"], True),
    "transfer_to_other": (["transfer_to_other"], True),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_tool_choice_decides_what_is_offered_and_what_has_to_come(choice):
    offered, must_call = CHOICES[choice]
    built = request(tools=TWO, handoffs=[HANDOFF], tool_choice=choice)

    assert names(built) == offered
    assert [one.name for one in built.tools] == offered
    assert built.rules.must_call is must_call
    assert built.rules.reading is (Reading.HELD if must_call else Reading.LIVE)
    assert ("format" in built.body) is must_call
    assert built.ignored == ()


def test_a_required_call_is_enforced_by_its_schema():
    either = request(tools=TWO, tool_choice="required").body["format"]
    named = request(tools=TWO, tool_choice="f").body["format"]

    assert allows(either, call("f", x=1))
    assert allows(either, call("g"))
    assert allows(named, call("f", x=1))
    for schema in (either, named):
        assert not allows(schema, call("f", x=-1))
        assert not allows(schema, call("h"))
        assert not allows(schema, {"name": "f"})
        assert not allows(schema, "f")
    assert not allows(named, call("g"))


@pytest.mark.parametrize(
    "choice", ["h", "file_search", "", MCPToolChoice(server_label="wiki", name="f")]
)
def test_a_choice_that_is_not_offered_is_refused_with_what_is_offered(choice):
    with pytest.raises(UnsupportedInputError, match=r"tool_choice is .* \(it offers: f, g\)"):
        request(tools=TWO, tool_choice=choice)
    with pytest.raises(UnsupportedInputError, match=r"\(it offers: none\)"):
        request(tool_choice=choice)


def test_a_required_call_without_tools_is_listed_as_ignored():
    built = request(tool_choice="required")

    assert not built.rules.must_call
    assert built.ignored == ("tool_choice='required' (the agent has no tools)",)


@pytest.mark.parametrize(("parallel", "one_call"), [(None, False), (True, False), (False, True)])
def test_parallel_tool_calls_decide_how_many_count(parallel, one_call):
    assert request(tools=TWO, parallel_tool_calls=parallel).rules.one_call is one_call


def test_an_output_without_tools_is_enforced_and_shown_as_it_comes():
    built = request(output=OUTPUT)

    assert built.body["format"] == OUTPUT.json_schema()
    assert built.rules.reading is Reading.LIVE
    assert built.rules.output is OUTPUT
    assert system(built) == ""


def test_an_output_beside_tools_is_told_and_blocks_no_call():
    built = request(tools=TWO, output=OUTPUT, instructions="Be kind.")

    assert "format" not in built.body
    assert names(built) == ["f", "g"]
    assert built.rules.reading is Reading.HELD
    assert system(built).startswith("Be kind.\n\nWhen you give your final answer")
    assert json.dumps(OUTPUT.json_schema()) in system(built)


def test_what_is_told_stands_before_the_whole_history_and_in_its_own_letters():
    tools = [tool("größe", x={"type": "string", "enum": ["groß"]})]
    for instructions in (None, "Be kind."):
        plain = request(HISTORY, tools=tools, instructions=instructions).body["messages"]
        built = request(HISTORY, tools=tools, instructions=instructions, output=OUTPUT)
        emulated = request(
            "hi", tools=tools, instructions=instructions, abilities=NO_TOOLS, emulate_tools=True
        )

        kept = plain if instructions is None else plain[1:]
        assert built.body["messages"][1:] == kept
        assert emulated.body["messages"][1:] == [{"role": "user", "content": "hi"}]
        assert "größe" in system(emulated)
        assert '"groß"' in system(emulated)


def test_notes_of_the_history_and_of_the_tools_stand_side_by_side():
    thought = {"type": "reasoning", "summary": [], "id": "r"}
    tools = [tool("f", x={"type": "string", "pattern": "a"})]

    notes = request([{"role": "user", "content": "hi"}, thought], tools=tools).notes

    assert notes[0] == "reasoning of another model is not replayed"
    assert notes[1].startswith("tool 'f': the server does not enforce ")


def test_an_output_with_tools_that_are_not_offered_is_enforced():
    built = request(tools=TWO, output=OUTPUT, tool_choice="none")

    assert built.body["format"] == OUTPUT.json_schema()
    assert "tools" not in built.body


def test_an_output_where_no_server_enforces_a_format_is_told_and_held():
    built = request(output=OUTPUT, abilities=CLOUD)

    assert built.body["format"] == OUTPUT.json_schema()
    assert built.rules.reading is Reading.HELD
    assert json.dumps(OUTPUT.json_schema()) in system(built)


def test_a_required_call_where_no_server_enforces_a_format_is_listed_and_the_output_still_told():
    built = request(tools=TWO, output=OUTPUT, abilities=CLOUD, tool_choice="f")

    assert names(built) == ["f"]
    assert not built.rules.must_call
    assert "format" not in built.body
    assert built.ignored == ("tool_choice (this endpoint cannot enforce it)",)
    assert json.dumps(OUTPUT.json_schema()) in system(built)
    assert built.rules.reading is Reading.HELD


def test_a_plain_text_output_is_no_output():
    built = request(output=AgentOutputSchema(str))

    assert built.rules.output is None
    assert "format" not in built.body


@pytest.mark.parametrize(
    ("capabilities", "is_sent"),
    [(None, True), ({"completion", "thinking"}, True), ({"completion"}, False)],
)
def test_a_model_that_does_not_think_is_not_asked_to(capabilities, is_sent):
    known = None if capabilities is None else frozenset(capabilities)
    built = request(reasoning={"effort": "high"}, abilities=Abilities(known))

    assert ("think" in built.body) is is_sent
    assert built.ignored == (() if is_sent else ("reasoning.effort (the model does not think)",))
    quiet = request(reasoning={"effort": "none"}, abilities=Abilities(known))
    assert quiet.body["think"] is False
    assert quiet.ignored == ()


HISTORY = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "Well."},
    {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"x": 1}'},
    {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "ü"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [{"type": "input_image", "image_url": PNG}],
    },
]
TOLD = [
    {"role": "user", "content": "q"},
    {
        "role": "assistant",
        "content": 'Well.\n{"name": "f", "arguments": {"x": 1}}\n{"name": "g", "arguments": {}}',
    },
    {"role": "user", "content": "Result of f: ü"},
    {"role": "user", "content": "Result of g: ", "images": [PNG]},
]


def test_a_model_without_tools_is_told_the_history_in_words():
    built = request(HISTORY, abilities=NO_TOOLS)

    assert built.body["messages"] == TOLD
    assert built.rules.call_ids == {"call_1", "call_2"}
    assert built.notes == ("calls and results are written as text: the model has no tool support",)
    assert request("hi", abilities=NO_TOOLS).notes == ()
    assert "tool_calls" in request(HISTORY).body["messages"][1]


def test_emulated_tools_are_described_and_called_in_json():
    built = request(HISTORY, tools=TWO, abilities=NO_TOOLS, emulate_tools=True)

    assert "tools" not in built.body
    assert built.body["messages"][1:] == TOLD
    assert "- f: Does f.\n" in system(built)
    assert '{"answer": …}' in system(built)
    assert (built.rules.is_emulated, built.rules.reading) == (True, Reading.EMULATED)
    assert "tools are emulated: the model has no tool support" in built.notes
    schema = built.body["format"]
    assert allows(schema, call("f", x=1))
    assert allows(schema, {"answer": "words"})
    assert not allows(schema, {"answer": 5})
    assert not allows(schema, {"answer": "words", "more": 1})
    assert not allows(schema, {})
    assert not allows(schema, "words")
    assert not allows(schema, call("h"))


def test_an_emulated_required_call_leaves_no_answer():
    one = request(tools=TWO, abilities=NO_TOOLS, emulate_tools=True, tool_choice="f")
    either = request(tools=TWO, abilities=NO_TOOLS, emulate_tools=True, tool_choice="required")

    for built in (one, either):
        assert built.rules.must_call
        assert built.rules.reading is Reading.HELD
        assert allows(built.body["format"], call("f", x=1))
        assert not allows(built.body["format"], {"answer": "words"})
    assert not allows(one.body["format"], call("g"))
    assert "anyOf" not in one.body["format"]


def test_an_emulated_answer_may_have_a_schema():
    built = request(tools=TWO, abilities=NO_TOOLS, emulate_tools=True, output=OUTPUT)

    assert built.rules.reading is Reading.HELD
    assert allows(built.body["format"], {"answer": {"words": "w"}})
    assert not allows(built.body["format"], {"answer": "w"})


def test_a_model_with_tools_needs_no_emulation():
    for abilities in (Abilities(), Abilities(frozenset({"tools"}))):
        built = request(tools=TWO, abilities=abilities, emulate_tools=True)

        assert names(built) == ["f", "g"]
        assert not built.rules.is_emulated


def test_a_missing_call_is_asked_for_once_more_by_its_schema():
    first = request(tools=TWO, tool_choice="f", reasoning={"effort": "high"}, max_tokens=5)
    second = repair(first, Repair("No.", "it is prose", wants_call=True))
    accepted(second)

    assert second.body["messages"][:-2] == first.body["messages"]
    assert second.body["messages"][-2] == {"role": "assistant", "content": "No."}
    asked = second.body["messages"][-1]
    assert asked["role"] == "user"
    assert "That was not a call to f: it is prose. Call f now" in asked["content"]
    assert "tools" not in second.body
    assert second.body["think"] == first.body["think"]
    assert second.body["options"] == {"num_predict": 5}
    assert allows(second.body["format"], call("f", x=1))
    assert (second.rules.reading, second.rules.is_repair, second.rules.must_call) == (
        Reading.HELD,
        True,
        True,
    )
    assert first.body["tools"]
    assert not first.rules.is_repair


def test_a_wrong_output_is_asked_for_once_more_by_its_schema():
    second = repair(request(tools=TWO, output=OUTPUT), Repair("", "words: Field required"))
    accepted(second)

    assert second.body["messages"][-1]["content"].startswith(
        "That did not match the JSON schema: words: Field required. Give the answer again, as one "
        "JSON object"
    )
    assert second.body["format"] == OUTPUT.json_schema()
    assert [message["role"] for message in second.body["messages"]] == ["system", "user", "user"]
    assert json.dumps(OUTPUT.json_schema()) in second.body["messages"][-1]["content"]


def test_an_emulated_request_is_repaired_without_emulation():
    first = request(tools=TWO, abilities=NO_TOOLS, emulate_tools=True, output=OUTPUT)
    second = repair(first, Repair("x", "it is not JSON"))

    assert second.body["format"] == OUTPUT.json_schema()
    assert not second.rules.is_emulated


def test_a_request_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        request().body = {}
