"""Plays the demo: a test server stands in for Ollama; everything else is as in an application."""

import asyncio
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from agents import Agent, RunConfig, TResponseInputItem, function_tool
from pydantic import BaseModel

from timestep.cli.agent.run import (
    AgentRun,
    Event,
    Handoff,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from timestep.cli.terminal import Transcript, width
from timestep.config.settings import Settings, load_settings
from timestep.registry import build_provider
from timestep.testing import FakeOllama, Reply
from timestep.traces.calls import call_text
from timestep.traces.sdk_processors import use_only

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
        _heading("The configuration, without the test server's address")
        click.echo(textwrap.indent(_CONFIGURATION.read_text(), "    ").rstrip())
        interval = _READING_SPEED if sys.stdout.isatty() else 0.0
        for number, scene in enumerate(SCENES, 1):
            _heading(f"{number}. {scene.title}")
            for reply in scene.replies:
                server.reply(replace(reply, interval=interval))
            asyncio.run(_play_scene(scene, settings))
        checked = (
            f"The test server read all {len(server.chats)} requests as strictly as Ollama does."
        )
    click.echo("\n" + textwrap.fill(checked, width()))
    click.echo(f"\n{_CLOSING}", nl=False)


def _heading(text: str) -> None:
    click.echo("\n" + click.style(textwrap.fill(text, width()), bold=True) + "\n")


async def _play_scene(scene: Scene, settings: Settings) -> None:
    provider = build_provider(settings)
    transcript = Transcript(label_width=10, line_width=width)
    transcript.line("user", scene.prompt)
    _show_agent(scene.agent, transcript, settings)
    run = AgentRun(lambda event: _show(event, transcript, settings))
    question: TResponseInputItem = {"role": "user", "content": scene.prompt}
    config = RunConfig(model_provider=provider)
    result = await run.play(scene.agent, [question], config, max_turns=10)
    await provider.aclose()
    transcript.end()
    if not isinstance(result.final_output, str):
        transcript.line("object", repr(result.final_output))
    costs = run.costs
    transcript.line(
        "usage",
        f"{costs.requests} requests, {costs.input_tokens} tokens in, {costs.output_tokens} out, "
        f"{costs.total_seconds:.1f} s",
        dim=True,
    )


def _show_agent(agent: Agent[Any], transcript: Transcript, settings: Settings) -> None:
    name = str(agent.model or settings.default_model)
    transcript.line("agent", f"{agent.name}, on {name} = {settings.targets[name]}")


def _show(event: Event, transcript: Transcript, settings: Settings) -> None:
    match event:
        case Text():
            transcript.write("answer", event.text)
        case Thinking():
            transcript.write("thinking", event.text, dim=True)
        case ToolCall():
            transcript.line("call", call_text(event.name, event.arguments))
        case ToolResult():
            transcript.line("result", event.result)
        case Handoff():
            transcript.line("handoff", f"{event.source} to {event.target}")
            _show_agent(_advisor, transcript, settings)
        case _:
            pass
