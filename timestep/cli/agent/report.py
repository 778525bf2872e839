"""Reports a finished run in ``run`` and ``chat``: the rest of the answer, the costs, the error."""

import logging
import sys
import traceback
from typing import Any

import click
from agents import Agent, MaxTurnsExceeded, RunResultStreaming
from pydantic_core import to_jsonable_python

from timestep.cli.agent.run import AgentRun
from timestep.cli.errors import explain
from timestep.cli.output import print_aside, print_json
from timestep.cli.terminal import printable, write_answer


def quiet_sdk() -> None:
    """Keep the SDK from logging what the command reports itself."""
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)


def is_text(agent: Agent[Any]) -> bool:
    """Return whether *agent* answers with text, and not with a type of its own."""
    return agent.output_type is None or agent.output_type is str


def explain_failure(run: AgentRun, error: Exception) -> str:
    """Say why *run* has no answer, and the next step."""
    if isinstance(error, click.ClickException):
        return error.message
    if isinstance(error, MaxTurnsExceeded):
        return f"{error}: the model keeps calling tools. Allow more with --max-turns."
    return run.problem or explain(error)


def print_traceback(error: Exception) -> None:
    """Print the traceback of *error* on stderr."""
    click.echo(printable("".join(traceback.format_exception(error))), nl=False, err=True)


def print_cut(run: AgentRun) -> None:
    """Say on stderr that the answer of *run* is not complete, if it was cut."""
    if run.cut_by == "max_output_tokens":
        advice = f" Raise {run.limit}." if run.limit else ""
        print_aside(f"The answer is not complete: the model reached its token limit.{advice}")
    elif run.cut_by:
        print_aside(f"The answer is not complete: {run.cut_by}.")


def print_rest(
    run: AgentRun, result: RunResultStreaming, agent: Agent[Any], *, shows_costs: bool
) -> None:
    """Print what the screen has not shown: an answer with a type, and what there is to say about it."""
    if is_text(agent):
        if not str(result.final_output or "").strip():
            print_aside("The answer is empty.")
    elif isinstance(result.final_output, str):
        write_answer(f"{result.final_output}\n")
    else:
        print_json(to_jsonable_python(result.final_output))
    print_cut(run)
    if shows_costs and sys.stderr.isatty() and (costs := str(run.costs)):
        click.echo(err=True)
        print_aside(costs, dim=True)
