"""What a list says of a run: its question, its answer and how it ended."""

import asyncio

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    UserError,
    function_tool,
)

from timestep import TimestepError
from timestep.ollama.provider import OllamaModelProvider
from timestep.testing import Stall
from timestep.traces import TraceStore
from timestep.traces.records import SpanEnded, SpanStarted, TraceEnded, TraceStarted

CALL = [("fetch", {})]


@function_tool
def fetch() -> str:
    """Fail, and let the model know."""
    raise KeyError("nothing there")


@function_tool(failure_error_function=None)
def fetch_or_end() -> str:
    """Fail, and end the run."""
    raise KeyError("nothing there")


@pytest.fixture
def run(fake_ollama, installed):
    """Run an agent against the test server; its line in the list."""

    async def run(given="How is the weather?", *, tools=(), ends_in=(), **options):
        config = RunConfig(
            model_provider=OllamaModelProvider(base_url=fake_ollama.url),
            trace_include_sensitive_data=options.pop("with_content", True),
        )
        agent = Agent(name="a", model="m", tools=list(tools), **options)
        try:
            await Runner.run(agent, given, run_config=config)
        except ends_in:
            pass
        else:
            assert not ends_in
        installed.flush()
        [summary] = installed.traces()
        assert installed.get("last").outcome == summary.outcome
        return summary

    return run


async def test_a_run_is_called_by_its_question(run, fake_ollama):
    fake_ollama.reply("It is\nsunny. " + "Really. " * 50)

    summary = await run("How is the\nweather?")

    assert (summary.title, summary.outcome) == ("How is the weather?", "ok")
    assert summary.answer.startswith("It is sunny. Really.")
    assert len(summary.answer) == 200


async def test_the_question_is_what_is_new_in_a_session(run, fake_ollama):
    fake_ollama.reply(tool_calls=CALL)
    fake_ollama.reply("Rain.")

    summary = await run(
        [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "told"},
            {"role": "user", "content": "second"},
        ],
        tools=[fetch],
    )

    assert (summary.question, summary.answer) == ("second", "Rain.")


async def test_a_run_without_content_is_called_by_its_workflow(run, fake_ollama):
    fake_ollama.reply("Sunny.")

    summary = await run(with_content=False)

    assert (summary.title, summary.answer) == ("Agent workflow", "")


async def test_a_key_in_a_long_question_is_hidden_before_the_question_is_shortened(
    run, fake_ollama
):
    fake_ollama.reply("Thanks.")

    summary = await run("x" * 189 + " sk-proj-abcdefghijklmnop1234")

    assert summary.question == "x" * 189 + " [redacted]"


async def test_a_tool_that_fails_does_not_make_the_run_fail(run, fake_ollama):
    fake_ollama.reply(tool_calls=CALL)
    fake_ollama.reply("I could not fetch it.")

    summary = await run(tools=[fetch])

    assert (summary.outcome, summary.errors) == ("ok", 1)


async def test_a_tool_that_ends_the_run_makes_it_fail(run, fake_ollama):
    fake_ollama.reply(tool_calls=[("fetch_or_end", {})])

    summary = await run(tools=[fetch_or_end], ends_in=UserError)

    assert summary.outcome == "failed"


async def test_a_model_that_fails_makes_the_run_fail(run, fake_ollama):
    fake_ollama.fail(status=404, error="model 'm' not found")

    summary = await run(ends_in=TimestepError)

    assert (summary.outcome, summary.question) == ("failed", "How is the weather?")


async def test_a_guardrail_that_stops_the_run_makes_it_fail(run, fake_ollama):
    async def refuse(context, agent, given):
        return GuardrailFunctionOutput(None, tripwire_triggered=True)

    guardrail = InputGuardrail(refuse, run_in_parallel=False)

    summary = await run(input_guardrails=[guardrail], ends_in=InputGuardrailTripwireTriggered)

    assert summary.outcome == "failed"


async def test_an_answer_at_its_token_limit_is_cut(run, fake_ollama):
    fake_ollama.reply("It is", done_reason="length")

    assert (await run()).outcome == "cut"


async def test_a_run_that_is_stopped_in_a_model_is_cancelled(run, fake_ollama):
    stall = Stall()
    fake_ollama.reply("Sunny.", fault=stall)
    task = asyncio.create_task(run(ends_in=asyncio.CancelledError))
    await stall.reached(60)
    task.cancel()

    assert (await task).outcome == "cancelled"


async def test_a_run_that_is_stopped_in_a_tool_is_cancelled(run, fake_ollama):
    started = asyncio.Event()

    @function_tool
    async def wait() -> str:
        """Wait for what never comes."""
        started.set()
        return await asyncio.Event().wait()

    fake_ollama.reply(tool_calls=[("wait", {})])
    task = asyncio.create_task(run(tools=[wait], ends_in=asyncio.CancelledError))
    await started.wait()
    task.cancel()

    assert (await task).outcome == "cancelled"


@pytest.mark.parametrize(
    ("metadata", "has_ended", "outcome"),
    [
        ('{"replay_of": "trace_1"}', True, "replayed"),
        ("no JSON", True, "ok"),
        (None, True, "ok"),
        ('{"replay_of": "trace_1"}', False, "running"),
    ],
)
def test_a_replay_says_so_once_it_has_ended(tmp_path, metadata, has_ended, outcome):
    events = [
        TraceStarted("t", "run", None, metadata, 1.0),
        SpanStarted("s", "t", None, "generation", "m", 1.0),
        SpanEnded("s", "t", "generation", "m", 2.0, None, "{}", model="m"),
        TraceEnded("t", 3.0),
    ]
    with TraceStore(tmp_path / "traces.db") as store:
        store.write(events if has_ended else events[:-1])

        assert store.get("t").outcome == outcome


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ("**Sum** this *up*, ***please***.", "Sum this up, please."),
        ("**a *b* c**", "a b c"),
        ("# Task\n\n## Part #\ntext", "Task Part text"),
        ("```python\nprint(1)\n```\nWhat does it print?", "print(1) What does it print?"),
        ("> quoted\n> too", "quoted too"),
        ("Run `ls -l` and ``x``.", "Run ls -l and x."),
        ("Read [this](https://a.example/b) ![one](x.png)", "Read this one"),
        ("2 * 3 * 4, a*b*c, f(*args, **kwargs)", "2 * 3 * 4, a*b*c, f(*args, **kwargs)"),
        ("__init__ a[0](1) #tag C# **open", "__init__ a[0](1) #tag C# **open"),
        ("**bold** " + " " * 5000 + "far", "bold"),
        ("**" * 5000, "*" * 199 + "…"),
    ],
)
def test_a_title_has_the_words_of_markdown_and_not_its_marks(tmp_path, given, title):
    with TraceStore(tmp_path / "traces.db") as store:
        store.write(
            [
                SpanStarted("s", "t", None, "generation", "m", 1.0, question=given),
                SpanEnded("s", "t", "generation", "m", 2.0, None, "{}", answer=given),
            ]
        )
        [run] = store.traces()

        assert (run.title, run.answer) == (title, title)
