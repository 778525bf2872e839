"""Builds what an application would use for a task: the agent, its tools and the messages."""

import json
from typing import Any, cast

from agents import Agent, FunctionTool, ModelSettings, TResponseInputItem
from agents.tool_context import ToolContext
from openai.types.shared import Reasoning

from timestep.answer.json_schema import JsonSchema
from timestep.cli.check.judge import same
from timestep.cli.check.task import Task, Tool
from timestep.cli.run.question import user_message

_FILLED = 0.75
"""How much of the window a prompt for the whole window fills. Tokens are only estimated."""
_MOST = 131_072


def agent_for(task: Task) -> Agent[Any]:
    """Return the agent that *task* describes."""
    schema = task.output_schema
    reasoning = None if task.reasoning is None else Reasoning(effort=task.reasoning)
    return Agent(
        name="Assistant",
        instructions=task.instructions,
        tools=[_tool(tool) for tool in task.tools],
        handoffs=[
            Agent(each.name, instructions=each.instructions, handoff_description=each.description)
            for each in task.agents
        ],
        output_type=None if schema is None else JsonSchema("answer", schema),
        model_settings=ModelSettings(tool_choice=task.tool_choice, reasoning=reasoning),
    )


def messages_for(task: Task, window: int | None) -> list[TResponseInputItem]:
    """Return the user's messages of *task*, one for each turn, for a window of *window* tokens."""
    first, *others = task.messages
    if task.haystack is not None:
        first = f"{hide(task.haystack.needle, haystack_tokens(task, window))}\n\n{first}"
    images = [task.image] if task.image else []
    return [user_message(first, images), *map(user_message, others)]


def haystack_tokens(task: Task, window: int | None) -> int:
    """Return how long the text before the question is, in tokens; 0 without one."""
    if task.haystack is None:
        return 0
    if task.haystack.tokens == "window":
        return min(int((window or 0) * _FILLED), _MOST)
    return task.haystack.tokens


def _tool(tool: Tool) -> FunctionTool:
    async def call(context: ToolContext[Any], arguments: str) -> str:
        try:
            given: Any = json.loads(arguments or "{}")
        except ValueError:
            return "Error: the arguments are not JSON."
        if not isinstance(given, dict):
            return "Error: the arguments are not an object."
        found = cast("dict[str, Any]", given)
        for each in tool.results:
            if all(same(value, found.get(name)) for name, value in each.when.items()):
                return each.result
        return "Error: nothing is known about this."

    return FunctionTool(
        tool.name, tool.description, tool.parameters, call, strict_json_schema=False
    )


_CHARACTERS = 4
"""How many characters of plain English make a token, about."""
_PLACE = 0.4
"""Where the sentence stands, as a part of the whole."""
_WHO = ("The baker", "A sailor", "The teacher", "My neighbour", "The gardener", "An old friend")
_DOES = ("walked to", "wrote about", "came back from", "painted", "talked about")
_WHAT = ("the harbour", "a quiet village", "the market", "the long bridge", "a green hill")
_WHEN = ("in the morning", "after the rain", "before supper", "on a warm day")


def hide(needle: str, tokens: int) -> str:
    """Return about *tokens* tokens of plain sentences with *needle* among them."""
    size = max(0, tokens * _CHARACTERS - len(needle))
    sentences: list[str] = []
    length = 0
    while length < size:
        # The lists have different lengths, so that neighbours differ and nothing repeats soon.
        places = enumerate((_WHO, _DOES, _WHAT, _WHEN), 1)
        words = [part[(len(sentences) * at) % len(part)] for at, part in places]
        sentences.append(f"{' '.join(words)}.")
        length += len(sentences[-1]) + 1
    before = int(len(sentences) * _PLACE)
    return " ".join([*sentences[:before], needle, *sentences[before:]])
