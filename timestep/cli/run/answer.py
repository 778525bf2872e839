"""One question, and its answer in the form that was asked for."""

import logging
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any

import click
from agents import Agent, MaxTurnsExceeded, RunResultStreaming, TResponseInputItem
from pydantic_core import to_jsonable_python

from timestep.cli.agent.approval import Approver, Decision, run_to_answer
from timestep.cli.agent.conversation import load_conversation, said
from timestep.cli.agent.run import Event, Turn, as_json
from timestep.cli.agent.screen import Screen
from timestep.cli.agent.setup import Asking
from timestep.cli.errors import explain
from timestep.cli.event_loop import impatient_runner
from timestep.cli.input import ask_decision
from timestep.cli.output import print_aside, print_json, print_lines
from timestep.cli.streams import is_output_lost
from timestep.cli.terminal import write_answer


class Form(Enum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"
    LINES = "jsonl"


def print_answer(
    question: TResponseInputItem, asking: Asking, *, session: str | None, form: Form
) -> None:
    """Print the answer to *question* as it arrives.

    Args:
        question: What the user says.
        asking: Who is asked, and how; the provider is closed afterwards.
        session: The name of the conversation that it goes on with.
        form: How it is printed.

    Raises:
        ClickException: There is no answer; says why, and the next step.
    """
    quiet_sdk()
    screen = Screen(shows_text=is_text(asking.agent))
    stdout = sys.stdout  # agents run with another
    shows: dict[Form, Callable[[Event], None]] = {
        Form.TEXT: screen.show,
        Form.JSON: lambda event: None,
        Form.LINES: lambda event: print_lines([as_json(event)], stdout),
    }
    turn = Turn(shows[form])
    with impatient_runner() as loop:
        conversation = loop.run(load_conversation(session))
        try:
            given = [*conversation.items, question]
            result = run_to_answer(loop, asking, turn, given, Approver(_decide))
            loop.run(conversation.extend([question, *said(result)]))
        except Exception as exc:  # providers of other packages raise what they like
            if is_output_lost(exc):
                raise
            problem = why(turn, exc)
            if form is Form.TEXT:
                screen.end()
                _print_held(turn, asking)
            else:
                _print_value(_value(turn, turn.text, asking, asking.agent, problem), form)
            raise click.ClickException(problem) from exc
        except KeyboardInterrupt:
            screen.end()
            raise
        finally:
            conversation.close()
            loop.run(asking.provider.aclose())
    if form is Form.TEXT:
        screen.end()
        print_typed(result, asking.agent)
        print_costs(turn)
    else:
        answer = to_jsonable_python(result.final_output)
        _print_value(_value(turn, answer, asking, result.last_agent, None), form)


def quiet_sdk() -> None:
    """The SDK would log what is reported on the screen."""
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)


def is_text(agent: Agent[Any]) -> bool:
    """True when *agent* answers in words, and not with a type."""
    return agent.output_type is None or agent.output_type is str


def why(turn: Turn, error: Exception) -> str:
    """Why *turn* has no answer, and the next step."""
    if isinstance(error, click.ClickException):
        return error.message
    if isinstance(error, MaxTurnsExceeded):
        return f"{error}: the model goes on calling tools. Allow more with --max-turns."
    return turn.problem or explain(error)


def print_costs(turn: Turn) -> None:
    """Print what *turn* cost on stderr, where a terminal shows it."""
    if sys.stderr.isatty() and (costs := str(turn.costs)):
        click.echo(err=True)
        print_aside(costs, dim=True)


def print_typed(result: RunResultStreaming, agent: Agent[Any]) -> None:
    """Print an answer that was not shown: *agent* was to answer with a type, or said nothing."""
    if is_text(agent):
        if not str(result.final_output or "").strip():
            print_aside("The answer is empty.")
        return
    if isinstance(result.final_output, str):
        write_answer(f"{result.final_output}\n")
    else:
        print_json(to_jsonable_python(result.final_output))


def _decide(call: str) -> Decision:
    if sys.stdin.isatty():
        return ask_decision(call)
    raise click.ClickException(
        f"{call} waits for approval, and nobody is there to give it. Run it in a terminal."
    )


def _print_held(turn: Turn, asking: Asking) -> None:
    if turn.text and not is_text(asking.agent):
        write_answer(turn.text if turn.text.endswith("\n") else f"{turn.text}\n")


def _value(
    turn: Turn, answer: Any, asking: Asking, agent: Agent[Any], problem: str | None
) -> dict[str, Any]:
    return {
        "answer": answer,
        "thinking": turn.thinking,
        "agent": agent.name,
        "model": asking.model_of(agent),
        "tool_calls": list(turn.calls.values()),
        "usage": turn.costs.usage(),
        "timings": turn.costs.timings(),
        "error": problem,
    }


def _print_value(value: dict[str, Any], form: Form) -> None:
    if form is Form.JSON:
        print_json(value)
    else:
        print_lines([{"type": "answer", **value}])
