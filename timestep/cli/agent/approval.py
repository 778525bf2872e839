"""Tool calls that wait until the user approves them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
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

from timestep.cli.agent.conversation import Conversation, new_items
from timestep.cli.agent.run import AgentRun, field_of
from timestep.cli.agent.setup import RunSetup
from timestep.cli.input import Decision
from timestep.cli.output import clean
from timestep.cli.streams import foreign_code, log_filter
from timestep.cli.terminal import unheard
from timestep.traces.calls import call_text


class Approver:
    """Asks about tool calls, as text, and remembers the tools that may always run."""

    def __init__(self, ask: Callable[[str], Decision]) -> None:
        self._ask = ask
        self._trusted: set[str] = set()

    def settle(self, state: RunState[Any], waiting: list[ToolApprovalItem]) -> None:
        """Approve or reject each of the *waiting* calls."""
        for item in waiting:
            name = item.tool_name or "tool"
            call = clean(call_text(name, field_of(item.raw_item, "arguments")))
            decision = "always" if name in self._trusted else self._ask(call)
            if decision == "always":
                self._trusted.add(name)
            if decision == "no":
                state.reject(item)
            else:
                state.approve(item)


def with_approval(agent: Agent[Any], copies: dict[int, Agent[Any]] | None = None) -> Agent[Any]:
    """Return a copy of *agent*, and of the agents it hands off to, whose tools need approval."""
    known = {} if copies is None else copies  # two agents may hand off to each other
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
    setup: RunSetup,
    run: AgentRun,
    conversation: Conversation,
    question: TResponseInputItem,
    approver: Approver,
) -> RunResultStreaming:
    """Run the agent until it answers *question*, ask *approver* on the way, and keep both.

    The questions are asked outside the event loop; inside it, Ctrl-C would not end them.
    """
    given: list[TResponseInputItem] | RunState[Any] = [*conversation.items, question]
    while True:
        with unheard(), run.spinner.at_work(), foreign_code(), log_filter(run.take_warning):
            result = loop.run(run.play(setup.agent, given, setup.config, setup.max_turns))
        if not result.interruptions:
            loop.run(conversation.extend([question, *new_items(result)]))
            return result
        given = result.to_state()
        approver.settle(given, result.interruptions)
