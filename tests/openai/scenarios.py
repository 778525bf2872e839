"""What agents do with a server of chat completions: a scenario each, for any model and any server."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    RunConfig,
    Runner,
    WebSearchTool,
    function_tool,
)
from openai.types.shared import Reasoning
from pydantic import BaseModel

from timestep.testing import Close, ErrorLine, FakeOpenAI, NoDone, Stall

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk"
    "+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
RUNS = []
"""The calls of the tools, in order."""


class City(BaseModel):
    """A typed answer."""

    name: str


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    RUNS.append(("weather", city))
    return f"sunny in {city}"


@function_tool
def delete_files(folder: str = "*") -> str:
    """Delete the files of a folder."""
    RUNS.append(("delete_files", folder))
    return "done"


@dataclass(frozen=True)
class Scenario:
    """One conversation.

    Attributes:
        queue: Scripts the server.
        input: What the user says.
        loops: In how many event loops the agent runs, one after the other.
        stall: Where the run is cancelled, if it is.
        agent: The keywords of the agent.
    """

    queue: Callable[[FakeOpenAI], None] = lambda fake: None
    input: Any = "Hi"
    loops: int = 1
    stall: Stall | None = None
    agent: dict[str, Any] = field(default_factory=dict)


def said(*replies: dict[str, Any], times: int = 1) -> Callable[[FakeOpenAI], None]:
    """Queue answers with these keywords."""

    def queue(fake: FakeOpenAI) -> None:
        for reply in replies * times:
            fields = dict(reply)
            fake.reply(fields.pop("text", ""), **fields)

    return queue


def failed(status: int, words: str, **fields: Any) -> Callable[[FakeOpenAI], None]:
    """Queue a failure."""
    return lambda fake: fake.fail(status, words, **fields)


PARIS = ("weather", {"city": "Paris"})
ROME = ("weather", {"city": "Rome"})
NOTHING = {"type": "function", "id": "c1", "function": {"name": "delete_files", "arguments": ""}}
OTHER = Agent(name="other", handoff_description="Knows it")
IMAGE = [
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is it?"},
            {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
        ],
    }
]

SCENARIOS = {
    "plain": Scenario(said({"text": "Hello you"})),
    "tools": Scenario(said({"tool_calls": [PARIS]}, {"text": "Sunny"}), agent={"tools": [weather]}),
    "two parallel calls": Scenario(
        said({"tool_calls": [PARIS, ROME], "call_pieces": 3}, {"text": "Sunny"}),
        agent={"tools": [weather]},
    ),
    "structured output": Scenario(said({"text": '{"name": "Oslo"}'}), agent={"output_type": City}),
    "structured output, wrong at first": Scenario(
        said({"text": '{"nam": 1}'}, {"text": '{"name": "Oslo"}'}), agent={"output_type": City}
    ),
    "structured output with tools": Scenario(
        said({"tool_calls": [PARIS]}, {"text": '{"name": "Oslo"}'}),
        agent={"output_type": City, "tools": [weather]},
    ),
    "handoff": Scenario(
        said({"tool_calls": [("transfer_to_other", {})]}, {"text": "I know"}),
        agent={"handoffs": [OTHER]},
    ),
    "reasoning": Scenario(
        said({"text": "Yes", "thinking": "Hm, who"}),
        agent={"model_settings": ModelSettings(reasoning=Reasoning(effort="low"))},
    ),
    "reasoning in another field": Scenario(
        said({"text": "Yes", "thinking": "Hm", "thinking_field": "reasoning"})
    ),
    "web search": Scenario(agent={"tools": [WebSearchTool()]}),
    "cut by length": Scenario(said({"text": "half of", "finish_reason": "length"})),
    "half a call": Scenario(
        said({"tool_calls": [NOTHING], "finish_reason": "length"}, {"text": "Gone"}),
        agent={"tools": [delete_files]},
    ),
    "content filter": Scenario(said({"text": "half of", "finish_reason": "content_filter"})),
    "content filter at once": Scenario(said({"text": "", "finish_reason": "content_filter"})),
    "a refusal": Scenario(said({"refusal": "I will not."})),
    "a long prompt": Scenario(
        failed(
            400,
            "This model's maximum context length is 8192 tokens. However, your messages resulted "
            "in 25000 tokens.",
            code="context_length_exceeded",
        ),
        input="x " * 25_000,
    ),
    "an image": Scenario(said({"text": "A pixel"}), input=IMAGE),
    "400": Scenario(failed(400, "no")),
    "401": Scenario(failed(401, "Incorrect API key provided.")),
    "404": Scenario(failed(404, "The model `m` does not exist", code="model_not_found")),
    "429 with Retry-After": Scenario(failed(429, "slow down", headers={"Retry-After": "7"})),
    "500": Scenario(failed(500, "oops")),
    "503": Scenario(failed(503, "busy")),
    "a stream that is cut": Scenario(said({"text": "one two", "fault": Close(after=1)})),
    "a stream without an end": Scenario(said({"text": "one two", "fault": NoDone()})),
    "an error in the stream": Scenario(said({"text": "one two", "fault": ErrorLine("boom")})),
    "a call without an id": Scenario(
        said({"tool_calls": [PARIS], "call_ids": False}, {"text": "Sunny"}),
        agent={"tools": [weather]},
    ),
    "cancel": Scenario(stall=Stall(after=1)),
    "two event loops": Scenario(said({"text": "Hello"}, times=2), loops=2),
}  # fmt: skip


@dataclass
class Came:
    """What a scenario came to.

    Attributes:
        error: What was raised, if anything.
        facts: What else happened, in words.
        bodies: The requests.
    """

    error: Exception | None
    facts: dict[str, str]
    bodies: Sequence[Any]


def play(
    scenario: Scenario,
    model: Any,
    close: Callable[[], Any],
    fake: FakeOpenAI,
    *,
    is_streamed: bool,
) -> Came:
    """Return what *scenario* came to with *model*, which asks *fake* and is closed in the end."""
    RUNS.clear()
    scenario.queue(fake)
    facts: dict[str, str] = {}
    error = None
    try:
        for left in reversed(range(scenario.loops)):
            run = _run(scenario, model, fake, is_streamed=is_streamed)
            facts |= asyncio.run(run if left else _closing(run, close))
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is what the user gets
        error = exc
    tools = ", ".join(
        f"{name}({argument!r})" for name, argument in sorted(RUNS)
    )  # threads run them
    facts["tools that ran"] = tools or "none"
    facts["requests"] = str(len(fake.requests))
    return Came(error, facts, fake.chats)


async def _closing(run: Any, close: Callable[[], Any]) -> dict[str, str]:
    try:
        return await run
    finally:
        await close()


async def _run(
    scenario: Scenario, model: Any, fake: FakeOpenAI, *, is_streamed: bool
) -> dict[str, str]:
    agent = Agent(name="a", **scenario.agent)
    config = RunConfig(model=model, tracing_disabled=True)
    running = asyncio.create_task(_answer(agent, scenario.input, config, is_streamed=is_streamed))
    if scenario.stall is None:
        return await running
    stall = Stall(after=1)
    fake.reply("a long story", fault=stall)
    await asyncio.sleep(0)
    await stall.reached()
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        await fake.disconnected()
        return {"answer": "cancelled, and the server saw it"}
    return {"answer": "not cancelled"}


async def _answer(
    agent: Any, given: Any, config: RunConfig, *, is_streamed: bool
) -> dict[str, str]:
    if is_streamed:
        result: Any = Runner.run_streamed(agent, given, run_config=config)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(agent, given, run_config=config)
    usage = result.context_wrapper.usage
    items = [item for response in result.raw_responses for item in response.output]
    thinking = [_thinking(item) for item in items if item.type == "reasoning"]
    messages = [item for item in items if item.type == "message"]
    return {
        "answer": repr(result.final_output),
        "tokens": f"{usage.input_tokens} + {usage.output_tokens}" if usage.total_tokens else "none",
        "thinking": " ".join(thinking) or "none",
        "last message": messages[-1].status if messages else "none",
    }


def _thinking(item: Any) -> str:
    parts = [*(item.summary or ()), *(item.content or ())]
    return " ".join(dict.fromkeys(part.text for part in parts))
