"""The loop of a chat: read a message or a slash command, answer it, repeat."""

import sys
from dataclasses import replace
from uuid import uuid4

import click
from agents import TResponseInputItem

from timestep.cli.agent.approval import Approver, run_to_answer, with_approval
from timestep.cli.agent.conversation import conversing
from timestep.cli.agent.run import AgentRun
from timestep.cli.agent.screen import (
    Screen,
    explain_failure,
    is_text,
    print_rest,
)
from timestep.cli.agent.setup import RunSetup
from timestep.cli.chat.commands import ChatState, QuitChat, print_exchange, run_command
from timestep.cli.input import UnendedMessageError, ask_decision, history, read_message
from timestep.cli.output import print_aside

_PROMPT = "> "


def chat_until_end(setup: RunSetup, *, approves: bool, shows_costs: bool, is_verbose: bool) -> None:
    """Answer the user's messages until the input ends. The provider of *setup* is closed then."""
    if approves:
        setup = replace(setup, agent=with_approval(setup.agent))
    group = setup.config.group_id or f"chat_{uuid4().hex[:12]}"
    setup = replace(setup, config=replace(setup.config, group_id=group))
    with conversing(setup) as (loop, conversation), history():
        state = ChatState(loop, setup, conversation, shows_costs, is_verbose)
        _chat(state)
    if state.has_failed and not sys.stdin.isatty():
        raise click.exceptions.Exit(1)


def _chat(state: ChatState) -> None:
    """Read and answer until the end of the input, or ``/quit``."""
    _greet(state)
    approver = Approver(ask_decision)
    while True:
        try:
            message = read_message(_PROMPT)
            if message.startswith("/"):
                message = run_command(state, message) or ""
            if message.strip():
                _answer(state, message, approver)
        except KeyboardInterrupt:
            click.echo(err=True)
        except UnendedMessageError as exc:
            state.refuse(str(exc))
        except QuitChat:
            return
        except EOFError:
            if sys.stdin.isatty():
                click.echo(err=True)
            return


def _greet(state: ChatState) -> None:
    if not sys.stdin.isatty():
        return
    model = state.setup.model_of(state.setup.agent)
    print_aside(f"{model}. /help shows the commands; Ctrl-D leaves.")
    if items := state.conversation.items:
        count = sum(item.get("role") == "user" for item in items)
        print_aside(f"The conversation has {count} message{'s' if count > 1 else ''} so far.")
        print_exchange(items)


def _answer(state: ChatState, message: str, approver: Approver) -> None:
    question: TResponseInputItem = {"role": "user", "content": message}
    screen = Screen(shows_text=is_text(state.setup.agent), is_verbose=state.is_verbose)
    run = AgentRun(
        screen.show, model=state.setup.model_of(state.setup.agent), interrupt=screen.interrupt
    )
    state.failed = None
    try:
        result = run_to_answer(state.loop, state.setup, run, state.conversation, question, approver)
    except KeyboardInterrupt:
        screen.end()
        click.echo("Stopped.", err=True)
        state.failed = message
        if run.text:
            state.failed = None
            partial: TResponseInputItem = {"role": "assistant", "content": run.text}
            state.loop.run(state.conversation.extend([question, partial]))
        return
    except Exception as exc:  # noqa: BLE001 - models of other packages raise anything
        screen.end()
        state.failed = message
        state.fail(explain_failure(run, exc, is_verbose=state.is_verbose))
        return
    screen.end()
    print_rest(run, result, state.setup.agent, shows_costs=state.shows_costs)
    if sys.stderr.isatty():
        click.echo(err=True)
    state.setup = replace(state.setup, agent=result.last_agent)
