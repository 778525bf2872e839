"""``timestep traces replay`` of runs that ended in every way that a run can end."""

import asyncio
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    AgentHooks,
    AgentsException,
    GuardrailFunctionOutput,
    InputGuardrail,
    OutputGuardrail,
    RunConfig,
    Runner,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    function_tool,
)

from timestep.ollama.provider import OllamaModelProvider
from timestep.testing import FakeOllama, Reset, Stall
from timestep.traces import TraceStore, install, uninstall


def fail() -> str:
    raise KeyError("nothing there")


raises = function_tool(fail, name_override="fetch")
ends = function_tool(fail, name_override="fetch", failure_error_function=None)


@function_tool(name_override="fetch")
def sunny() -> str:
    """Tell the weather."""
    return "sunny"


def refuse(_: Any) -> ToolGuardrailFunctionOutput:
    return ToolGuardrailFunctionOutput.raise_exception()


@function_tool(
    name_override="fetch", tool_input_guardrails=[ToolInputGuardrail(refuse, name="no_fetching")]
)
def guarded() -> str:
    """Never run."""
    return ""


async def trip(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, tripwire_triggered=True)


async def passes(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(None, tripwire_triggered=False)


def trips_after_the_answer() -> dict[str, Any]:
    """Return fields of an agent whose guardrail, beside a model call, trips after its end."""
    answered = asyncio.Event()

    class Hooks(AgentHooks[Any]):
        async def on_llm_end(self, *_: Any, **__: Any) -> None:
            answered.set()

    async def trip_late(*_: Any) -> GuardrailFunctionOutput:
        await answered.wait()
        return await trip()

    return {"hooks": Hooks(), "input_guardrails": [InputGuardrail(trip_late, name="polite")]}


def calls(server: FakeOllama) -> None:
    server.reply(tool_calls=[("fetch", {})])


def calls_and_answers(server: FakeOllama) -> None:
    calls(server)
    server.reply("Sunny.")


def calls_twice(server: FakeOllama) -> None:
    calls(server)
    calls(server)


def calls_and_breaks(server: FakeOllama) -> None:
    calls(server)
    server.reply("It is sunny", fault=Reset(after=1))


@dataclass(frozen=True)
class Case:
    """A way to end, and what a replay says of it; ``{url}`` is the recorded server.

    Attributes:
        serve: Queues the answers of the model.
        recorded: What follows "The recorded run".
        replayed: What follows "The replay", or None for the same.
        not_repeated: The sentences about what a replay does not do again.
        agent: Fields of the agent.
        turns: How many turns the run may take.
    """

    serve: Callable[[FakeOllama], Any]
    recorded: str
    replayed: str | None = None
    not_repeated: tuple[str, ...] = ()
    agent: dict[str, Any] | Callable[[], dict[str, Any]] = field(default_factory=dict[str, Any])
    turns: int = 10


PLACE = inspect.getsourcelines(fail)[1] + 1
RAISED = (
    f"failed: the tool fetch raised KeyError: 'nothing there' (test_replay_outcomes.py:{PLACE})"
)
NO_GUARDRAIL = ("A replay does not run the guardrail polite.",)
CASES = {
    "ok": Case(calls_and_answers, "ended well", agent={"tools": [sunny]}),
    "a guardrail that passed": Case(
        lambda server: server.reply("Sunny."),
        "ended well",
        not_repeated=NO_GUARDRAIL,
        agent={"output_guardrails": [OutputGuardrail(passes, name="polite")]},
    ),
    "the tool's result is the answer": Case(
        calls,
        "ended well",
        "ended where the record ends",
        agent={"tools": [sunny], "tool_use_behavior": "stop_on_first_tool"},
    ),
    "cut": Case(
        lambda server: server.reply("It is", done_reason="length"),
        "ended with an answer that was cut at the token limit",
    ),
    "an error of the server": Case(
        lambda server: server.fail(500, "out of memory"),
        "failed: OllamaStatusError: {url} answered 500: out of memory",
    ),
    "a connection that broke": Case(
        calls_and_breaks,
        "failed: OllamaConnectionError: The connection to {url} broke: the server hung up before "
        "its answer was complete. The server or a proxy in between may have stopped; its log says more",
        agent={"tools": [sunny]},
    ),
    "too many turns": Case(
        calls_twice, "failed: Max turns exceeded", agent={"tools": [raises]}, turns=2
    ),
    "a tool that raised": Case(calls_and_answers, "ended well", agent={"tools": [raises]}),
    "a tool that ended the run": Case(calls, RAISED, agent={"tools": [ends]}),
    "a guardrail of a tool": Case(
        calls, "was stopped by the guardrail no_fetching", agent={"tools": [guarded]}
    ),
    "an input guardrail": Case(
        lambda server: server.reply("Sunny."),
        "was stopped by the guardrail polite",
        "ended well",
        not_repeated=NO_GUARDRAIL,
        agent=trips_after_the_answer,
    ),
    "an output guardrail": Case(
        lambda server: server.reply("Sunny."),
        "was stopped by the guardrail polite",
        "ended well",
        not_repeated=NO_GUARDRAIL,
        agent={"output_guardrails": [OutputGuardrail(trip, name="polite")]},
    ),
}


@pytest.fixture
def recorded(tmp_path, fake_ollama):
    """Record one run in the configured file."""
    path = tmp_path / "data" / "timestep" / "traces.db"

    async def run(agent, turns, is_streamed, until, server):
        config = RunConfig(model_provider=OllamaModelProvider(base_url=fake_ollama.url, **server))
        options = {"run_config": config, "max_turns": turns}

        async def streamed():
            async for _ in Runner.run_streamed(agent, "Hi?", **options).stream_events():
                pass

        task = asyncio.create_task(
            streamed() if is_streamed else Runner.run(agent, "Hi?", **options)
        )
        if until is not None:
            await until()
            task.cancel()
        with suppress(AgentsException, asyncio.CancelledError):
            await task

    def record(agent, *, turns=10, is_streamed=False, until=None, **server):
        store = install(path)
        asyncio.run(run(agent, turns, is_streamed, until, server))
        assert store.flush(60)
        uninstall()
        with TraceStore(path) as store:
            return store.get("last")

    return record


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_replay_says_how_both_runs_ended(invoke, recorded, fake_ollama, case, is_streamed):
    case.serve(fake_ollama)
    fields = case.agent() if callable(case.agent) else case.agent
    trace = recorded(
        Agent(name="desk", model="m", **fields), turns=case.turns, is_streamed=is_streamed
    )

    done = invoke("traces", "replay")
    value = json.loads(invoke("traces", "replay", trace.trace_id, "--json").stdout)

    url, lines = fake_ollama.url, done.stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("The recorded run "))
    is_same = case.replayed in (None, "ended where the record ends")
    assert lines[at:] == [
        f"The recorded run {case.recorded.format(url=url)}.",
        f"The replay {(case.replayed or case.recorded).format(url=url)}.",
        "Both runs did the same." if is_same else "They did not end the same.",
        *case.not_repeated,
    ]
    assert done.exit_code == 0
    assert value["recorded"]["ending"] == case.recorded.format(url=url)
    assert value["replayed"]["ending"] == (case.replayed or case.recorded).format(url=url)
    assert (value["same"], value["not_repeated"]) == (is_same, list(case.not_repeated))
    assert value["unknown_calls"] == []
    assert all(pair["same"] for pair in value["diff"]["pairs"])
    assert value["replayed"]["outcome"] == (trace.outcome if is_same else "ok")


NOT_CANCELLED = "A replay does not repeat a cancellation."


@pytest.mark.parametrize("way", ["in a tool", "in a later call", "after a handoff"])
def test_a_replay_of_a_cancelled_run_ends_where_the_record_ends(invoke, recorded, fake_ollama, way):
    reached, stall = asyncio.Event(), Stall()

    @function_tool(name_override="fetch")
    async def wait() -> str:
        """Wait for what never comes."""
        reached.set()
        await asyncio.Event().wait()
        return ""

    poet = Agent(name="poet", model="m")
    if way == "after a handoff":
        fake_ollama.reply(tool_calls=[("transfer_to_poet", {})])
    else:
        calls(fake_ollama)
    if way != "in a tool":
        fake_ollama.reply("Sunny.", fault=stall)
    tool = wait if way == "in a tool" else sunny
    recorded(
        Agent(name="desk", model="m", tools=[tool], handoffs=[poet]),
        until=reached.wait if way == "in a tool" else stall.reached,
    )

    done = invoke("traces", "replay")
    value = json.loads(invoke("traces", "replay", "last-1", "--json").stdout)

    step = "the tool fetch" if way == "in a tool" else "a call of m"
    assert done.stdout.splitlines()[-4:] == [
        f"The recorded run was cancelled during {step}.",
        "The replay ended where the record ends.",
        "They did not end the same.",
        NOT_CANCELLED,
    ]
    assert done.exit_code == 0
    assert "FakeOllama" not in done.output
    assert (value["same"], value["answer"]) == (False, None)
    assert value["recorded"]["outcome"] == "cancelled"
    assert value["not_repeated"] == [NOT_CANCELLED]
    assert value["unknown_calls"] == []


@pytest.mark.parametrize(
    ("fields", "options", "serve", "ended"),
    [
        (
            {"input_guardrails": [InputGuardrail(trip, name="polite", run_in_parallel=False)]},
            {},
            None,
            "was stopped by the guardrail polite. It has no model calls",
        ),
        ({}, {"timeout": 0.1}, Stall(), "failed: OllamaTimeoutError: "),
        ({}, {}, "cancel", "was cancelled during a call of m. Model call 1 has no stored answer"),
    ],
)
def test_a_run_without_an_answer_says_how_it_ended_and_that_there_is_nothing_to_replay(
    invoke, recorded, fake_ollama, fields, options, serve, ended
):
    stall = Stall() if serve == "cancel" else serve
    if stall is not None:
        # A busy machine may not even ask before the time is up.
        fake_ollama.reply("Sunny.", fault=stall, times=None)
    recorded(
        Agent(name="desk", model="m", **fields),
        until=stall.reached if serve == "cancel" else None,
        **options,
    )

    done = invoke("traces", "replay")

    assert done.exit_code == 1
    assert f"The recorded run {ended}" in done.stderr
    assert "so there is nothing to replay." in done.stderr


def test_a_replay_leaves_out_the_calls_of_agents_inside_a_tool(invoke, recorded, fake_ollama):
    poet = Agent(name="poet", model="m")
    fake_ollama.reply(tool_calls=[("ask_poet", {"input": "rain"})])
    fake_ollama.reply("A poem about rain.")
    fake_ollama.reply("Here it is.")
    recorded(Agent(name="desk", model="m", tools=[poet.as_tool("ask_poet", "Write.")]))

    value = json.loads(invoke("traces", "replay", "--json").stdout)
    inner = json.loads(invoke("traces", "replay", "last-1", "--from", "2", "--json").stdout)

    assert (value["answer"], value["same"]) == ("Here it is.", True)
    assert [pair["same"] for pair in value["diff"]["pairs"]] == [True] * 3
    assert inner["answer"] == "A poem about rain."
    assert [pair["same"] for pair in inner["diff"]["pairs"]] == [True]


def test_a_narrow_terminal_wraps_what_a_replay_says_at_words(on_screen, recorded, fake_ollama):
    calls(fake_ollama)
    recorded(Agent(name="desk", model="m", tools=[ends]))

    text, code = on_screen(40, "traces", "replay")

    assert code == 0
    assert max(map(len, text.splitlines())) <= 40
    assert f"The replay {RAISED}. Both runs did the same." in " ".join(text.split())


def test_a_replay_of_a_cut_answer_gives_no_advice_for_another_call(
    invoke, recorded, fake_ollama, caplog
):
    fake_ollama.reply("It is", done_reason="length")
    recorded(Agent(name="desk", model="m"))
    assert "max_tokens" in caplog.text
    caplog.clear()

    assert invoke("traces", "replay").exit_code == 0
    assert caplog.text == ""


def test_a_diff_says_how_both_runs_ended(invoke, recorded, fake_ollama):
    for tool in (ends, sunny):
        calls_and_answers(fake_ollama) if tool is sunny else calls(fake_ollama)
        recorded(Agent(name="desk", model="m", tools=[tool]))

    done = invoke("traces", "diff", "last-1", "--exit-code")
    value = json.loads(invoke("traces", "diff", "last-1", "--json").stdout)

    assert done.stdout.splitlines()[-3:] == [
        f"The first run {RAISED}.",
        "The second run ended well.",
        "They did not end the same.",
    ]
    assert done.exit_code == 1
    assert value["same"] is False
    assert (value["left"]["outcome"], value["left"]["ending"]) == ("failed", RAISED)


def test_a_replay_of_a_chain_asks_the_models_that_answered_each_turn(
    invoke, fake_ollama, configured
):
    Path("timestep.toml").write_text('[aliases]\nboth = ["ollama/first", "ollama/second"]\n')
    Path("desk.py").write_text(
        "from agents import Agent, function_tool\n"
        "@function_tool\n"
        "def fetch() -> str:\n"
        "    return 'sunny'\n"
        "desk = Agent('desk', model='both', tools=[fetch])\n"
    )
    fake_ollama.fail(500, "out of memory", model="first", times=None)
    fake_ollama.reply(tool_calls=[("fetch", {})], model="second")
    fake_ollama.reply("Sunny.", model="second")
    assert invoke("run", "Hi?", "--agent", "desk.py:desk").exit_code == 0

    value = json.loads(invoke("traces", "replay", "--json").stdout)

    assert (value["answer"], value["same"]) == ("Sunny.", True)
    assert [pair["left"]["kind"] for pair in value["diff"]["pairs"]] == [
        "generation",
        "function",
        "generation",
    ]
    assert all(pair["same"] for pair in value["diff"]["pairs"])
    assert value["not_repeated"] == ["A replay does not repeat a failed try of ollama/first."]


@pytest.mark.parametrize("way", ["status", "broken", "down"])
def test_a_replay_of_a_failed_chat_completions_call_fails_alike(invoke, fake_openai, way):
    Path("timestep.toml").write_text(
        f'[providers.shop]\nkind = "openai"\nbase_url = "{fake_openai.url}/v1"\nmax_retries = 0\n'
    )
    match way:
        case "status":
            fake_openai.fail(500, "out of memory")
        case "broken":
            fake_openai.reply("It is sunny in Oslo.", fault=Reset(after=2))
        case _:
            fake_openai.refuse()
    assert invoke("run", "Hi?", "--model", "shop/m").exit_code == 1

    value = json.loads(invoke("traces", "replay", "--json").stdout)

    assert value["same"]
    assert all(pair["same"] for pair in value["diff"]["pairs"])
    assert fake_openai.url in value["replayed"]["ending"]


def test_a_replay_sends_no_request_twice(invoke, fake_openai):
    Path("timestep.toml").write_text(
        f'[providers.shop]\nkind = "openai"\nbase_url = "{fake_openai.url}/v1"\n'
    )
    fake_openai.fail(503, "one moment", headers={"Retry-After": "0"})
    fake_openai.reply("Sunny.")
    assert invoke("run", "Hi?", "--model", "shop/m").exit_code == 0

    value = json.loads(invoke("traces", "replay", "--json").stdout)

    assert (value["answer"], value["same"]) == ("Sunny.", True)
