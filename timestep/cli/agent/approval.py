"""Tool calls that wait until somebody has agreed."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

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

from timestep.cli.agent.run import Turn, field_of, read_arguments
from timestep.cli.agent.screen import call_text
from timestep.cli.agent.setup import Asking
from timestep.cli.streams import foreign_code
from timestep.cli.terminal import unheard


class Decision(Enum):
    """What may happen to a tool call."""

    YES = "yes"
    NO = "no"
    ALWAYS = "always"


class Approver:
    """Has somebody decide about tool calls, and remembers which tools may always be called.

    Args:
        ask: Says what may happen to a call, which it gets as people read it.
    """

    def __init__(self, ask: Callable[[str], Decision]) -> None:
        self._ask = ask
        self._trusted: set[str] = set()

    def approves(self, name: str, call: str) -> bool:
        """Whether *call* of the tool *name* may happen."""
        if name in self._trusted:
            return True
        decision = self._ask(call)
        if decision is Decision.ALWAYS:
            self._trusted.add(name)
        return decision is not Decision.NO


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
    approver: Approver,
) -> RunResultStreaming:
    """Let the agent of *asking* answer *given*; *approver* decides about calls that wait.

    Nobody is asked within the event loop, where Ctrl-C would not end the question.
    """
    state: RunState[Any] | None = None
    while True:
        said = given if state is None else state
        with unheard(), foreign_code():
            result = loop.run(turn.play(asking.agent, said, asking.config, asking.max_turns))
        if not result.interruptions:
            return result
        state = result.to_state()
        _settle(state, result.interruptions, approver)


def _settle(state: RunState[Any], waiting: list[ToolApprovalItem], approver: Approver) -> None:
    for item in waiting:
        name = item.tool_name or "tool"
        arguments = read_arguments(field_of(item.raw_item, "arguments"))
        if approver.approves(name, call_text(name, arguments)):
            state.approve(item)
        else:
            state.reject(item)
