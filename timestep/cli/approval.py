"""Tool calls that wait until somebody has agreed."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any, TypeAlias

import click
from agents import (
    Agent,
    Handoff,
    RunContextWrapper,
    RunResultStreaming,
    RunState,
    ToolApprovalItem,
    TResponseInputItem,
)

from timestep.cli.asking import Asking
from timestep.cli.screen import call_text
from timestep.cli.terminal import unheard
from timestep.cli.turn import Turn, field_of, read_arguments


class Decision(Enum):
    """What may happen to a tool call."""

    YES = "yes"
    NO = "no"
    ALWAYS = "always"


Decide: TypeAlias = Callable[[str], Decision]
"""Says what may happen to a call, which it gets as people read it."""


def with_approval(agent: Agent[Any], copies: dict[int, Agent[Any]] | None = None) -> Agent[Any]:
    """*agent*, and all it hands over to, with tools that wait for approval.

    Raises:
        UsageError: Its tools come from an MCP server, which decides that itself.
    """
    known = {} if copies is None else copies  # two agents may hand over to each other
    if id(agent) in known:
        return known[id(agent)]
    if agent.mcp_servers:
        raise click.UsageError(
            f"--approve cannot stop the tools of the MCP servers of {agent.name!r}; give the "
            "servers require_approval='always'."
        )
    tools: list[Any] = list(agent.tools)
    tools = [
        replace(tool, needs_approval=True) if hasattr(tool, "needs_approval") else tool
        for tool in tools
    ]
    copy = known[id(agent)] = agent.clone(tools=tools)
    copy.handoffs = [
        with_approval(target, known)
        if isinstance(target, Agent)
        else replace(target, on_invoke_handoff=_approving(target, known))
        for target in agent.handoffs
    ]
    return copy


def _approving(handoff: Handoff[Any, Any], known: dict[int, Agent[Any]]) -> Any:
    async def invoke(context: RunContextWrapper[Any], arguments: str) -> Agent[Any]:
        return with_approval(await handoff.on_invoke_handoff(context, arguments), known)

    return invoke


def run_to_answer(
    loop: asyncio.Runner,
    asking: Asking,
    turn: Turn,
    given: list[TResponseInputItem],
    decide: Decide,
) -> RunResultStreaming:
    """Let the agent of *asking* answer *given*; *decide* is asked about calls that wait.

    Nobody is asked within the event loop, where Ctrl-C would not end the question.
    """
    state: RunState[Any] | None = None
    while True:
        with unheard():
            result = loop.run(
                turn.play(
                    asking.agent,
                    given if state is None else state,
                    asking.config,
                    asking.max_turns,
                )
            )
        if not result.interruptions:
            return result
        state = result.to_state()
        _settle(state, result.interruptions, decide)


def _settle(state: RunState[Any], waiting: list[ToolApprovalItem], decide: Decide) -> None:
    agreed: set[str] = set()
    for item in waiting:
        name = item.tool_name or "tool"
        if name in agreed:
            state.approve(item)
            continue
        arguments = read_arguments(field_of(item.raw_item, "arguments"))
        match decide(call_text(name, arguments)):
            case Decision.YES:
                state.approve(item)
            case Decision.ALWAYS:
                state.approve(item, always_approve=True)
                agreed.add(name)
            case Decision.NO:
                state.reject(item)
