"""Asks an agent one question and prints the answer in the form that was asked for."""

import sys
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import click
from agents import Agent, TResponseInputItem
from pydantic_core import to_jsonable_python

from timestep.cli.agent.approval import Approver, run_to_answer
from timestep.cli.agent.conversation import conversing
from timestep.cli.agent.run import AgentRun, Event, as_json
from timestep.cli.agent.screen import (
    Screen,
    explain_failure,
    is_text,
    print_rest,
)
from timestep.cli.agent.setup import RunSetup
from timestep.cli.input import Decision, ask_decision
from timestep.cli.output import print_aside, print_json, print_lines
from timestep.cli.terminal import write_answer

Form: TypeAlias = Literal["text", "json", "jsonl"]


def print_answer(
    question: TResponseInputItem,
    setup: RunSetup,
    form: Form,
    *,
    timeout: float | None,
    shows_costs: bool,
    is_verbose: bool,
) -> None:
    """Print the answer to *question* as it arrives. The provider of *setup* is closed then."""
    screen = Screen(shows_text=is_text(setup.agent), is_verbose=is_verbose)
    stdout = sys.stdout  # agents run with another stdout
    shows: dict[Form, Callable[[Event], None] | None] = {
        "text": screen.show,
        "json": None,
        "jsonl": lambda event: print_lines([as_json(event)], stdout),
    }
    model = setup.model_of(setup.agent)
    run = AgentRun(shows[form], model=model, timeout=timeout, interrupt=screen.interrupt)
    with conversing(setup) as (loop, conversation):
        try:
            result = run_to_answer(loop, setup, run, conversation, question, Approver(_decide))
        except Exception as exc:  # models of other packages raise anything
            screen.end()
            problem = explain_failure(run, exc, is_verbose=is_verbose)
            if form != "text":
                _print_value(form, run, run.text, setup, setup.agent, problem)
            elif run.text and not is_text(setup.agent):  # which was not shown
                write_answer(run.text if run.text.endswith("\n") else f"{run.text}\n")
            raise click.ClickException(problem) from exc
        except KeyboardInterrupt:
            screen.end()
            raise
    setup.price(run.costs, run.models)
    if form == "text":
        screen.end()
        print_rest(run, result, setup.agent, shows_costs=shows_costs)
    else:
        answer = to_jsonable_python(result.final_output)
        _print_value(form, run, answer, setup, result.last_agent, None)
        if run.cut_by:
            print_aside(run.why_cut)


def _decide(call: str) -> Decision:
    if sys.stdin.isatty():
        return ask_decision(call)
    raise click.ClickException(
        f"{call} waits for approval, and standard input is not a terminal. Run it in a terminal."
    )


def _print_value(
    form: Form, run: AgentRun, answer: Any, setup: RunSetup, agent: Agent[Any], problem: str | None
) -> None:
    value = {
        "answer": answer,
        "thinking": run.thinking,
        "agent": agent.name,
        "model": setup.model_of(agent),
        "tool_calls": list(run.calls.values()),
        "usage": run.costs.usage(),
        "timings": run.costs.timings(),
        "cost": run.costs.cost,
        "is_cut": bool(run.cut_by),
        "error": problem,
    }
    if form == "json":
        print_json(value)
    else:
        print_lines([{"type": "answer", **value}])
