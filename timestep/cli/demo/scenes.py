"""The scenes of the demo: agents, their tools, and the replies of the replayed model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents import Agent, function_tool
from pydantic import BaseModel

from timestep.testing import Reply

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
