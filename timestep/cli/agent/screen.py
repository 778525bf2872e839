"""Shows a run: its events as they arrive, and at the end the rest of the answer, the costs, the error."""

import sys
import traceback
from typing import Any

import click
from agents import Agent, MaxTurnsExceeded, RunResultStreaming
from pydantic_core import to_jsonable_python

from timestep.cli.agent.run import (
    AgentRun,
    Event,
    Handoff,
    MessageEnd,
    Text,
    Thinking,
    ToolCall,
    ToolError,
    ToolResult,
)
from timestep.cli.errors import explain
from timestep.cli.output import clean, print_aside, print_json
from timestep.cli.streams import is_output_lost
from timestep.cli.terminal import (
    Transcript,
    is_drawn_over,
    printable,
    width,
    write_answer,
    write_aside,
)
from timestep.traces.calls import call_text

_LABELS = 9
_LONGEST = 1000
"""The most characters shown of a tool's result."""


class Screen:
    """Shows a run: the answer as Markdown on a terminal, elsewhere as the model wrote it.

    Without *shows_text* the text is left out, because it is printed in another form.
    """

    def __init__(self, *, shows_text: bool = True, is_verbose: bool = False) -> None:
        self._answer: Any = _AsWritten()
        if is_drawn_over(sys.stdout):
            from timestep.cli.markdown import MarkdownStream

            self._answer = MarkdownStream(width)
        self._is_terminal = sys.stdout.isatty()
        self._asides = Transcript(_LABELS, width, err=True)
        self._thoughts = Transcript(0, width, err=True)
        self._shows_text = shows_text
        self._is_verbose = is_verbose
        self._section = ""

    def show(self, event: Event) -> None:
        """Show *event*."""
        match event:
            case Thinking():
                self._begin("thinking")
                if sys.stderr.isatty():
                    self._thoughts.write("", event.text, dim=True)
                else:
                    write_aside(event.text)
            case Text() if self._shows_text:
                self._begin("answer")
                self._answer.feed(event.text)
            case MessageEnd() if self._shows_text:
                self.end()
            case ToolCall():
                self._aside("tool", clean(call_text(event.name, event.arguments)))
            case ToolResult():
                self._aside("result", event.result if self._is_verbose else _cut(event.result))
            case ToolError():
                self._aside("failed", f"{event.error} ({event.place})")
                if self._is_verbose:
                    click.echo(printable(event.traceback), nl=False, err=True)
            case Handoff():
                self._aside("handoff", f"{event.source} to {event.target}")
            case _:
                pass

    def end(self) -> None:
        """End the current line: what follows is something else."""
        if self._section == "answer":
            self._answer.end()
        elif self._section == "thinking" and sys.stderr.isatty():
            self._thoughts.end()
        elif self._section == "thinking":
            write_aside("\n\n")
        self._section = "ended" if self._section else ""

    def interrupt(self) -> None:
        """End the line of the answer on a terminal, because something else is printed there."""
        if self._section == "answer" and self._is_terminal:
            self.end()

    def _begin(self, section: str) -> None:
        if section == self._section:
            return
        self.end()
        if self._section and sys.stderr.isatty():
            click.echo(err=True)
        self._section = section

    def _aside(self, label: str, text: str) -> None:
        self._begin("asides")
        if sys.stderr.isatty():
            self._asides.line(label, text, dim=True)
        else:
            write_aside(f"{label:<{_LABELS}}{clean(text)}\n")


def _cut(text: str) -> str:
    text = text.rstrip()
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… ({len(text) - _LONGEST:,} more characters)"


class _AsWritten:
    """Writes the answer as the model wrote it, and ends its last line."""

    def __init__(self) -> None:
        self._file = sys.stdout  # agents run with another stdout
        self._last = ""

    def feed(self, text: str) -> None:
        write_answer(text, self._file)
        self._last = text or self._last

    def end(self) -> None:
        if self._last and not self._last.endswith("\n"):
            write_answer("\n", self._file)
        self._last = ""


def is_text(agent: Agent[Any]) -> bool:
    """Return whether *agent* answers with text, and not with a type of its own."""
    return agent.output_type is None or agent.output_type is str


def explain_failure(run: AgentRun, error: Exception, *, is_verbose: bool) -> str:
    """Return why *run* has no answer, and the next step. Print the traceback if *is_verbose*.

    An *error* that means that nothing can be printed any more is raised again.
    """
    if is_output_lost(error):
        raise error
    if is_verbose:
        click.echo(printable("".join(traceback.format_exception(error))), nl=False, err=True)
    if isinstance(error, click.ClickException):
        return error.message
    if isinstance(error, MaxTurnsExceeded):
        return f"{error}: the model keeps calling tools. Allow more with --max-turns."
    return run.problem or explain(error)


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
    if run.cut_by:
        print_aside(run.why_cut)
    if shows_costs and sys.stderr.isatty() and (costs := str(run.costs)):
        click.echo(err=True)
        print_aside(costs, dim=True)
