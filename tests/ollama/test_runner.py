"""Whole agent runs: the SDK's Runner, a provider, and a server on loopback."""

import asyncio
import base64
import json

import pytest
from agents import (
    Agent,
    FunctionTool,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    ModelSettings,
    OutputGuardrail,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    RunState,
    SQLiteSession,
    ToolOutputImage,
    ToolOutputText,
    function_tool,
    handoff,
)
from pydantic import BaseModel

from timestep import MultiModelProvider, MultiModelProviderMap, OllamaModelProvider
from timestep.errors import UnsupportedInputError

PNG = b"\x89PNG\r\n\x1a\n and the rest of it"
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


class Reason(BaseModel):
    why: str


@function_tool
def take_photo() -> list[ToolOutputText | ToolOutputImage]:
    """A photo of the room."""
    return [ToolOutputText(text="here"), ToolOutputImage(image_url=DATA_URL)]


def said(chat):
    return [(message["role"], message["content"]) for message in chat["messages"]]


def calls_of(message):
    return [
        (call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]
    ]


# Turns, calls, handoffs


def script_a_trip(fake):
    fake.reply(
        "Let me look.",
        thinking="Two cities.",
        tool_calls=[("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})],
    )
    fake.reply(tool_calls=[("transfer_to_writer", {})])
    fake.reply("Sunny in both.")


def trip(model):
    writer = Agent("writer", instructions="Write.", model=model)
    return Agent(
        "guide", instructions="Guide.", model=model, tools=[get_weather], handoffs=[writer]
    )


def test_parallel_calls_and_a_handoff_work_in_one_event_loop_after_another(
    fake_ollama, provider, run
):
    for _ in range(2):
        script_a_trip(fake_ollama)

        result = asyncio.run(run(trip(provider.get_model("m")), "Weather?"))

        assert result.final_output == "Sunny in both."
        assert result.last_agent.name == "writer"
        assert result.context_wrapper.usage.requests == 3
        first, second, third = fake_ollama.chats[-3:]
        assert said(first) == [("system", "Guide."), ("user", "Weather?")]
        turn, *results = second["messages"][2:]
        assert (turn["thinking"], turn["content"]) == ("Two cities.", "Let me look.")
        assert calls_of(turn) == [
            ("get_weather", {"city": "Paris"}),
            ("get_weather", {"city": "Rome"}),
        ]
        assert [(m["tool_name"], m["content"]) for m in results] == [
            ("get_weather", "Paris: sunny"),
            ("get_weather", "Rome: sunny"),
        ]
        assert [m["tool_call_id"] for m in results] == [c["id"] for c in turn["tool_calls"]]
        assert said(third)[0] == ("system", "Write.")
        assert [tool["function"]["name"] for tool in first["tools"]] == [
            "get_weather",
            "transfer_to_writer",
        ]
        assert "tools" not in third


async def test_both_ways_to_run_leave_the_same_history_and_usage(
    fake_ollama, provider, whole_and_streamed
):
    outcomes = []
    for run in whole_and_streamed:
        script_a_trip(fake_ollama)
        result = await run(trip(provider.get_model("m")), "Weather?")
        usage = result.context_wrapper.usage
        counts = (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens)
        outcomes.append((_renumbered(result.to_input_list()), counts))

    assert outcomes[0] == outcomes[1]


def _renumbered(items):
    """*items* with their random ids in the order they occur."""
    ids: dict[str, int] = {}
    return [
        {
            name: ids.setdefault(value, len(ids)) if name in {"id", "call_id"} else value
            for name, value in item.items()
        }
        for item in items
    ]


async def test_every_event_of_a_streamed_run_carries_one_response_id_a_turn(
    fake_ollama, model, run
):
    script_a_trip(fake_ollama)

    await run(trip(model), "Weather?")

    begun = [event.response.id for event in run.events if event.type == "response.created"]
    ended = [event.response.id for event in run.events if event.type == "response.completed"]
    assert begun == ended
    assert len(set(begun)) == (3 if run.is_streamed else 0)


async def test_call_ids_of_all_turns_differ(fake_ollama, model, run):
    call = {"id": "call_0", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    fake_ollama.reply(tool_calls=[call, call])
    fake_ollama.reply(tool_calls=[call])
    fake_ollama.reply("done")

    await run(Agent("a", model=model, tools=[get_weather]), "Weather?")

    messages = fake_ollama.chats[-1]["messages"]
    ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert ids[0] == "call_0"
    assert len(set(ids)) == 3
    assert [m["tool_call_id"] for m in messages if m["role"] == "tool"] == ids


async def test_a_nested_handoff_history_reaches_the_next_agent(fake_ollama, model, run):
    fake_ollama.reply(tool_calls=[("transfer_to_writer", {})])
    fake_ollama.reply("Done.")
    guide = Agent("guide", model=model, handoffs=[Agent("writer", model=model)])

    result = await run(guide, "Tell me.", run_config=RunConfig(nest_handoff_history=True))

    assert result.final_output == "Done."
    messages = fake_ollama.chats[-1]["messages"]
    assert messages[-1]["role"] == "user"
    assert "Tell me." in messages[-1]["content"]


async def test_a_handoff_with_input_hands_it_over(fake_ollama, model, run):
    seen = []

    async def take(context, reason: Reason) -> None:
        seen.append(reason)

    fake_ollama.reply(tool_calls=[("transfer_to_writer", {"why": "tired"})])
    fake_ollama.reply("Done.")
    writer = handoff(Agent("writer", model=model), on_handoff=take, input_type=Reason)

    await run(Agent("guide", model=model, handoffs=[writer]), "Tell me.")

    assert seen == [Reason(why="tired")]


async def test_an_agent_can_be_a_tool_of_another(fake_ollama, provider, run):
    fake_ollama.reply(tool_calls=[("translate", {"input": "good morning"})], model="big")
    fake_ollama.reply("bonjour", model="small")
    fake_ollama.reply("It is: bonjour", model="big")
    inner = Agent("translator", model=provider.get_model("small"))
    outer = Agent(
        "host",
        model=provider.get_model("big"),
        tools=[inner.as_tool("translate", "Translate into French.")],
    )

    result = await run(outer, "Good morning in French?")

    assert result.final_output == "It is: bonjour"
    assert fake_ollama.chats[1]["messages"][-1]["content"] == "good morning"
    assert fake_ollama.chats[2]["messages"][-1]["content"] == "bonjour"


async def test_tools_made_from_a_schema_as_mcp_servers_do_are_called_with_json(
    fake_ollama, model, run
):
    seen = []

    async def invoke(context, arguments: str) -> str:
        seen.append(json.loads(arguments))
        return '{"files": ["a", "b"]}'

    tool = FunctionTool(
        name="list_directory",
        description="List files.",
        params_json_schema={
            "type": "object",
            "properties": {"path": {"type": "string"}, "depth": {"type": ["integer", "null"]}},
            "required": ["path"],
        },
        on_invoke_tool=invoke,
        strict_json_schema=False,
    )
    fake_ollama.reply(tool_calls=[("list_directory", {"path": "/ä", "depth": None})])
    fake_ollama.reply("Two files.")

    await run(Agent("a", model=model, tools=[tool]), "What is there?")

    assert seen == [{"path": "/ä", "depth": None}]
    assert fake_ollama.chats[1]["messages"][-1]["content"] == '{"files": ["a", "b"]}'


async def test_images_in_the_input_and_in_tool_output_travel_as_bare_base64(
    fake_ollama, model, run
):
    fake_ollama.reply(tool_calls=[("take_photo", {})])
    fake_ollama.reply("A room.")
    image = {"type": "input_image", "image_url": DATA_URL, "detail": "auto"}
    question = {"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, image]}

    await run(Agent("a", model=model, tools=[take_photo]), [question])

    user, _, photo = fake_ollama.chats[1]["messages"]
    assert (user["content"], user["images"]) == ("What is this?", [base64.b64encode(PNG).decode()])
    assert (photo["role"], photo["content"], photo["images"]) == ("tool", "here", user["images"])


async def test_an_image_that_names_a_file_or_an_address_is_refused_before_the_request(
    fake_ollama, model, run, tmp_path
):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    for address in (str(secret), f"file://{secret}", f"{fake_ollama.url}/a.png"):
        question = {"role": "user", "content": [{"type": "input_image", "image_url": address}]}
        with pytest.raises(UnsupportedInputError, match=r"input\[0\]"):
            await run(Agent("a", model=model), [question])
    assert fake_ollama.requests == []


async def test_thinking_is_replayed_to_the_model_that_thought_it_and_to_no_other(
    fake_ollama, provider, run
):
    fake_ollama.reply("Later.", thinking="Hm.")
    fake_ollama.reply("Now.")
    fake_ollama.reply("Now.")

    first = await run(Agent("a", model=provider.get_model("m")), "When?")
    history = [*first.to_input_list(), {"role": "user", "content": "And now?"}]
    await run(Agent("a", model=provider.get_model("m")), history)
    await run(Agent("b", model=provider.get_model("other")), history)

    assert fake_ollama.chats[1]["messages"][1]["thinking"] == "Hm."
    assert "thinking" not in fake_ollama.chats[2]["messages"][1]


# Sessions


async def test_a_session_carries_calls_and_answers_from_run_to_run(fake_ollama, model, run):
    session = SQLiteSession("s")
    agent = Agent("a", model=model, tools=[get_weather])
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Paris"})])
    fake_ollama.reply("Sunny.")
    fake_ollama.reply("Still sunny.")

    await run(agent, "Weather?", session=session)
    result = await run(agent, "And now?", session=session)

    assert result.final_output == "Still sunny."
    assert said(fake_ollama.chats[-1]) == [
        ("user", "Weather?"),
        ("assistant", ""),
        ("tool", "Paris: sunny"),
        ("assistant", "Sunny."),
        ("user", "And now?"),
    ]
    session.close()


# What the servers of OpenAI leave in a session. Source: openai types/responses (3.52).
HOSTED = [
    {"role": "user", "content": "Find the paper and sum it up."},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "secret"}]},
    {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "attention is all you need"},
    },
    {
        "type": "file_search_call",
        "id": "fs_1",
        "status": "completed",
        "queries": ["transformer"],
        "results": [{"file_id": "f", "text": "eight heads"}],
    },
    {
        "type": "code_interpreter_call",
        "id": "ci_1",
        "status": "completed",
        "code": "print(6 * 7)",
        "container_id": "c",
        "outputs": [{"type": "logs", "logs": "42"}],
    },
    {
        "type": "mcp_list_tools",
        "id": "mcpl_1",
        "server_label": "docs",
        "tools": [{"name": "t", "input_schema": {}}],
    },
    {
        "type": "mcp_call",
        "id": "mcp_1",
        "name": "lookup",
        "server_label": "docs",
        "arguments": '{"q": "x"}',
        "output": "found it",
    },
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
    {"type": "item_reference", "id": "msg_old"},
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": "{broken",
    },
    {"type": "function_call_output", "call_id": "call_1", "output": "Paris: sunny"},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Eight heads.", "annotations": []}],
    },
]  # fmt: skip - as the API prints them


async def test_a_session_of_an_openai_agent_resumes_on_ollama_without_losing_text(
    fake_ollama, model, run
):
    session = SQLiteSession("openai")
    await session.add_items(HOSTED)
    fake_ollama.reply("As I said.")

    result = await run(Agent("a", model=model), "Again?", session=session)

    assert result.final_output == "As I said."
    text = json.dumps(fake_ollama.chats[0]["messages"], ensure_ascii=False)
    for kept in (
        "Find the paper",
        "attention is all you need",
        "eight heads",
        "print(6 * 7)",
        "42",
        "found it",
        "{broken",
        "Paris: sunny",
        "Eight heads.",
        "Again?",
    ):
        assert kept in text
    assert "secret" not in text
    session.close()


async def test_half_a_pair_that_a_limit_left_is_told_and_warned_of_once(
    fake_ollama, model, run, caplog
):
    cut = [
        {"type": "function_call_output", "call_id": "call_9", "output": "x"},
        {"role": "user", "content": "and?"},
    ]
    fake_ollama.reply("First.")
    fake_ollama.reply("Second.")

    assert (await run(Agent("a", model=model), cut)).final_output == "First."
    assert (await run(Agent("a", model=model), cut)).final_output == "Second."

    for chat in fake_ollama.chats:
        assert [message["role"] for message in chat["messages"]] == ["user", "user"]
        assert chat["messages"][0]["content"] == "Result of an earlier call: x"
    warnings = [record.message for record in caplog.records if "sent as text" in record.message]
    assert len(warnings) == 1


# Approval


@pytest.fixture
def careful_agent(model):
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    return Agent("a", model=model, tools=[pay])


@pytest.mark.parametrize("approves", [True, False])
async def test_a_run_that_waits_for_approval_resumes_from_json(
    fake_ollama, careful_agent, run, approves
):
    fake_ollama.reply(thinking="Costs 5.", tool_calls=[("pay", {"amount": 5})])
    fake_ollama.reply("Done.")

    waiting = await run(careful_agent, "Pay.")
    (interruption,) = waiting.interruptions
    state = await RunState.from_json(careful_agent, waiting.to_state().to_json())
    if approves:
        state.approve(state.get_interruptions()[0])
    else:
        state.reject(state.get_interruptions()[0])
    result = await run(careful_agent, state)

    assert interruption.name == "pay"
    assert result.final_output == "Done."
    turn, output = fake_ollama.chats[1]["messages"][1:]
    assert (turn["thinking"], calls_of(turn)) == ("Costs 5.", [("pay", {"amount": 5})])
    assert (output["content"] == "paid 5") is approves


# Guardrails


async def test_an_input_guardrail_stops_a_run(fake_ollama, model, run):
    async def refuse(context, agent, asked):
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    agent = Agent(
        "a", model=model, input_guardrails=[InputGuardrail(refuse, run_in_parallel=False)]
    )

    with pytest.raises(InputGuardrailTripwireTriggered):
        await run(agent, "Hi")
    assert fake_ollama.chats == []


async def test_a_guardrail_can_ask_a_model_itself(fake_ollama, provider, run):
    judge = Agent("judge", model=provider.get_model("judge"))

    async def ask(context, agent, output):
        verdict = await Runner.run(judge, output)
        return GuardrailFunctionOutput(None, tripwire_triggered=verdict.final_output == "bad")

    fake_ollama.reply("Something rude.", model="m")
    fake_ollama.reply("bad", model="judge")
    agent = Agent("a", model=provider.get_model("m"), output_guardrails=[OutputGuardrail(ask)])

    with pytest.raises(OutputGuardrailTripwireTriggered):
        await run(agent, "Hi")


# Names and defaults


async def test_names_reach_ollama_through_the_run_configuration(fake_ollama, run):
    provider = MultiModelProvider(
        provider_map=_mapped("ollama", OllamaModelProvider(base_url=fake_ollama.url))
    )
    fake_ollama.reply("Hi!", model="hf.co/Org/Model:Q4_K_M")

    agent = Agent("a", model="ollama/hf.co/Org/Model:Q4_K_M")
    result = await run(agent, "Hi", run_config=RunConfig(model_provider=provider))

    assert result.final_output == "Hi!"
    await provider.aclose()


async def test_the_settings_meant_for_openais_default_model_do_not_reach_the_configured_default(
    fake_ollama, run, monkeypatch
):
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-5.6-luna")
    provider = MultiModelProvider(
        provider_map=_mapped("ollama", OllamaModelProvider(base_url=fake_ollama.url)),
        default_model="ollama/x",
    )
    fake_ollama.reply("Hi!", model="x")
    agent = Agent("a", model=None)
    assert agent.model_settings.reasoning.effort == "none"

    await run(agent, "Hi", run_config=RunConfig(model_provider=provider))

    assert "think" not in fake_ollama.chats[0]
    assert [request.path for request in fake_ollama.requests] == ["/api/chat"]


async def test_settings_that_somebody_chose_reach_the_configured_default(fake_ollama, run):
    provider = MultiModelProvider(
        provider_map=_mapped("ollama", OllamaModelProvider(base_url=fake_ollama.url)),
        default_model="ollama/x",
    )
    fake_ollama.reply("Hi!")
    agent = Agent("a", model_settings=ModelSettings(reasoning={"effort": "high"}, temperature=0.5))

    await run(agent, "Hi", run_config=RunConfig(model_provider=provider))

    assert fake_ollama.chats[0]["think"] == "high"
    assert fake_ollama.chats[0]["options"]["temperature"] == 0.5


def _mapped(prefix, provider):
    mapping = MultiModelProviderMap()
    mapping.add_provider(prefix, provider)
    return mapping
