"""The items of a conversation as text: for the terminal and for files."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import click
from agents import TResponseInputItem

from timestep.cli.output import clean
from timestep.cli.sessions import text_of
from timestep.cli.terminal import printable
from timestep.traces.text import call_text

_NAMES = {"user": "You", "assistant": "Answer"}


def print_conversation(items: Sequence[TResponseInputItem]) -> None:
    """Print the messages and calls of *items* on stdout, each message of the user after a ``>``."""
    for line in _lines(items):
        click.echo(printable(line))


def print_exchange(items: Sequence[TResponseInputItem]) -> None:
    """Print the last question in *items* and its answer on stderr."""
    starts = [index for index, item in enumerate(items) if item.get("role") == "user"]
    for line in _lines(items[starts[-1] :] if starts else items):
        click.echo(click.style(printable(line), dim=True), err=True)


def _lines(items: Sequence[TResponseInputItem]) -> Iterator[str]:
    for item in cast("Sequence[Any]", items):
        match item.get("type", "message"):
            case "message" if item["role"] == "user":
                yield f"> {text_of(item)}"
            case "message":
                yield f"{text_of(item)}\n"
            case "function_call":
                yield f"tool     {clean(call_text(item['name'], item['arguments']))}"
            case _:
                pass  # results are long, and thinking is not part of what was said


def markdown(items: Sequence[TResponseInputItem]) -> Iterator[str]:
    """Yield *items* as pieces of a Markdown document."""
    for item in cast("Sequence[Any]", items):
        match item.get("type", "message"):
            case "message":
                yield f"## {_NAMES.get(item['role'], item['role'])}\n\n{text_of(item)}\n\n"
            case "function_call":
                yield f"    {clean(call_text(item['name'], item['arguments']))}\n\n"
            case "function_call_output":
                lines = str(item["output"]).splitlines()
                yield "".join(f"    {line}\n" for line in lines) + "\n"
            case _:
                pass  # thinking is not part of what was said
