"""Plays the demo: a test server stands in for Ollama; everything else is as in an application."""

import asyncio
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from agents import (
    Agent,
    HandoffCallItem,
    RunConfig,
    RunItem,
    Runner,
    StreamEvent,
    ToolCallItem,
    ToolCallOutputItem,
    function_tool,
)
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseReasoningTextDeltaEvent,
    ResponseTextDeltaEvent,
)
from pydantic import BaseModel

from timestep.cli.terminal import Transcript, width
from timestep.config.settings import Settings, load_settings
from timestep.registry import MultiModelProvider, build_provider
from timestep.testing import FakeOllama, Reply
from timestep.traces.sdk_processors import use_only
from timestep.traces.text import call_text

_WEATHER = {"Oslo": "-3 C, snow", "Rome": "21 C, sunny"}


@function_tool
def get_weather(city: str) -> str:
    """Get today's weather in a city."""
    return _WEATHER[city]


class PackingList(BaseModel):
    """What to pack for a trip."""

    city: str
    items: list[str]


@dataclass(frozen=True)
class Scene:
    """One run of an agent."""

    title: str
    agent: Agent[Any]
    prompt: str
    replies: Sequence[Reply]


_advisor = Agent(
    name="Advisor",
    instructions="Say what to wear. Look the weather up first.",
    tools=[get_weather],
)
_packer = Agent(
    name="Packer",
    instructions="Write a packing list. Look the weather up first.",
    tools=[get_weather],
    output_type=PackingList,
)
_desk = Agent(
    name="Desk",
    instructions="Hand every question about clothes to the advisor.",
    model="fast",
    handoffs=[_advisor],
)

SCENES = (
    Scene(
        "Two tool calls at once, streamed",
        _advisor,
        "What should I wear today in Oslo, and in Rome?",
        (
            Reply(
                thinking="Two cities. I can look up both at once.",
                tool_calls=[("get_weather", {"city": city}) for city in _WEATHER],
            ),
            Reply(
                "In Oslo a warm coat, a hat and boots: it snows at three below zero. "
                "In Rome a T-shirt will do: sun, and 21 degrees.",
            ),
        ),
    ),
    Scene(
        "Structured output, with the tool at hand",
        _packer,
        "I fly to Oslo tonight. What do I pack?",
        (
            Reply(tool_calls=[("get_weather", {"city": "Oslo"})]),
            Reply('{"city": "Oslo", "items": ["warm coat", "hat", "boots"]}'),
        ),
    ),
    Scene(
        "A handoff to an agent on another model",
        _desk,
        "Is it T-shirt weather in Rome?",
        (
            Reply(tool_calls=[("transfer_to_advisor", {})]),
            Reply(tool_calls=[("get_weather", {"city": "Rome"})]),
            Reply("Yes: sun, and 21 degrees."),
        ),
    ),
)


_CONFIGURATION = Path(__file__).parent / "timestep.toml"
_READING_SPEED = 0.03
_CLOSING = """\
Now a real model

  Ollama on this machine
    ollama pull llama3.2
    timestep run "Hello" --model ollama/llama3.2

  Ollama Cloud
    export OLLAMA_API_KEY=...
    timestep run "Hello" --model ollama/gpt-oss:120b-cloud

  OpenAI
    export OPENAI_API_KEY=...
    timestep run "Hello" --model gpt-4.1

  In Python
    provider = MultiModelProvider.from_env()
    run_config = RunConfig(model_provider=provider)
    await Runner.run(agent, "Hello", run_config=run_config)
"""


def play() -> None:
    """Play every scene."""
    # The SDK would send traces to OpenAI if it found a key.
    use_only([])
    with FakeOllama() as server:
        # The user's variables must not change what the demo shows.
        settings = load_settings(
            environment={},
            env_file=None,
            config_file=_CONFIGURATION,
            ollama={"base_url": server.url},
        )
        _show_configuration()
        asyncio.run(_play_scenes(settings, server))
        checked = (
            f"The test server read all {len(server.chats)} requests as strictly as Ollama does."
        )
    click.echo("\n" + textwrap.fill(checked, width()))
    click.echo(f"\n{_CLOSING}", nl=False)


def _show_configuration() -> None:
    _heading("The configuration, without the test server's address")
    click.echo(textwrap.indent(_CONFIGURATION.read_text(), "    ").rstrip())


async def _play_scenes(settings: Settings, server: FakeOllama) -> None:
    provider = build_provider(settings)
    interval = _READING_SPEED if sys.stdout.isatty() else 0.0
    for number, scene in enumerate(SCENES, 1):
        _heading(f"{number}. {scene.title}")
        for reply in scene.replies:
            server.reply(replace(reply, interval=interval))
        await _play_scene(scene, provider, settings)
    await provider.aclose()


def _heading(text: str) -> None:
    click.echo("\n" + click.style(textwrap.fill(text, width()), bold=True) + "\n")


async def _play_scene(scene: Scene, provider: MultiModelProvider, settings: Settings) -> None:
    transcript = Transcript(label_width=10, line_width=width)
    transcript.line("user", scene.prompt)
    started = time.monotonic()
    config = RunConfig(model_provider=provider)
    result = Runner.run_streamed(scene.agent, scene.prompt, run_config=config)
    async for event in result.stream_events():
        _show(event, transcript, settings)
    transcript.end()
    if not isinstance(result.final_output, str):
        transcript.line("object", repr(result.final_output))
    usage = result.context_wrapper.usage
    transcript.line(
        "usage",
        f"{usage.requests} requests, {usage.input_tokens} tokens in, {usage.output_tokens} out, "
        f"{time.monotonic() - started:.1f} s",
        dim=True,
    )


def _show(event: StreamEvent, transcript: Transcript, settings: Settings) -> None:
    match event.type:
        case "agent_updated_stream_event":
            agent = event.new_agent
            name = str(agent.model or settings.default_model)
            transcript.line("agent", f"{agent.name}, on {name} = {settings.targets[name]}")
        case "run_item_stream_event":
            _show_item(event.item, transcript)
        case "raw_response_event":
            match event.data:
                case ResponseTextDeltaEvent(delta=text):
                    transcript.write("answer", text)
                case ResponseReasoningTextDeltaEvent(delta=text):
                    transcript.write("thinking", text, dim=True)
                case _:
                    pass  # repeats what other events bring


def _show_item(item: RunItem, transcript: Transcript) -> None:
    match item:
        case ToolCallItem(raw_item=ResponseFunctionToolCall() as call):
            transcript.line("call", call_text(call.name, call.arguments))
        case HandoffCallItem(raw_item=call):
            transcript.line("handoff", call.name)
        case ToolCallOutputItem():
            transcript.line("result", str(item.output))
        case _:
            pass
