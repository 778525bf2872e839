"""The slash commands of a chat, and the state they share with its loop."""

import asyncio
import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
from agents import TResponseInputItem

from timestep.cli.agent.conversation import Conversation
from timestep.cli.agent.setup import RunSetup
from timestep.cli.errors import explain
from timestep.cli.output import clean, print_aside, print_rows
from timestep.traces.text import call_text

_HELP = (
    'A line that ends in \\ continues on the next line; """ begins and ends a message of several '
    "lines. A space before a slash makes it a message. Ctrl-C stops an answer."
)
_QUOTES = ("'", '"')
_NAMES = {"user": "You", "assistant": "Answer"}


class QuitChat(Exception):  # noqa: N818 - not an error: the user leaves
    """The user leaves the chat."""


@dataclass
class ChatState:
    """What changes during a chat.

    Attributes:
        loop: The event loop in which the agents run.
        setup: The agent that gets the next message, and its configuration.
        conversation: The items so far.
        has_failed: True once a message has no answer, or a command failed.
    """

    loop: asyncio.Runner
    setup: RunSetup
    conversation: Conversation
    has_failed: bool = False

    def refuse(self, why: str) -> None:
        """Say why a command is not carried out."""
        self.has_failed = True
        print_aside(why)

    def fail(self, why: str) -> None:
        """Report an error."""
        self.has_failed = True
        click.ClickException(why).show()


def run_command(state: ChatState, line: str) -> None:
    """Run the slash command in *line*.

    Raises:
        QuitChat: It is ``/quit``.
    """
    name, _, argument = line.partition(" ")
    known = {usage.split()[0]: run for usage, (_, run) in _COMMANDS.items()}
    if name in known:
        known[name](state, argument.strip())
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "/help shows the commands."
    state.refuse(f"There is no {name}. {hint}")


def _help(state: ChatState, argument: str) -> None:
    print_rows([(usage, text) for usage, (text, _) in _COMMANDS.items()])
    click.echo()
    print_aside(_HELP)


def _model(state: ChatState, name: str) -> None:
    if name:
        try:
            state.setup = state.setup.with_model(name)
        except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
            state.fail(explain(exc))
            return
    click.echo(state.setup.model_of(state.setup.agent))


def _tools(state: ChatState, argument: str) -> None:
    agent = state.setup.agent
    rows = [
        (tool.name, str(getattr(tool, "description", "")).partition("\n")[0])
        for tool in agent.tools
    ]
    rows += [
        (f"transfer to {getattr(target, 'agent_name', None) or cast('Any', target).name}", "")
        for target in agent.handoffs
    ]
    if rows:
        print_rows(rows)
    else:
        print_aside(f"{agent.name} has no tools.")


def _undo(state: ChatState, argument: str) -> None:
    removed = state.loop.run(state.conversation.undo())
    if removed is None:
        state.refuse("There is nothing to take back.")
    else:
        print_aside(f"Taken back: {_text(removed)}")


def _save(state: ChatState, argument: str) -> None:
    if argument[:1] in _QUOTES and argument.endswith(argument[0]):
        argument = argument[1:-1]  # quoted for its spaces, as in a shell
    if not argument:
        state.refuse("Name a file: /save FILE")
        return
    items = state.conversation.items
    if not items:
        state.refuse("There is nothing to save.")
        return
    is_json = argument.endswith(".json")
    text = json.dumps(items, ensure_ascii=False, indent=2) if is_json else "".join(_markdown(items))
    try:
        with Path(argument).expanduser().open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        state.refuse(f"{argument} exists already; name another file.")
    except OSError as exc:
        state.refuse(f"{argument} cannot be written: {exc.strerror}.")
    else:
        print_aside(f"Saved {argument}")


def _quit(state: ChatState, argument: str) -> None:
    raise QuitChat


_COMMANDS: dict[str, tuple[str, Callable[[ChatState, str], None]]] = {
    "/help": ("Show the commands.", _help),
    "/model [NAME]": ("Show the model, or switch to another.", _model),
    "/tools": ("Show what the agent can call.", _tools),
    "/undo": ("Take back the last message and its answer.", _undo),
    "/save FILE": ("Write the conversation as Markdown, or as .json.", _save),
    "/quit": ("Leave, as Ctrl-D does.", _quit),
}


def _text(item: Any) -> str:
    """Return the text of a message."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or ())


def _markdown(items: list[TResponseInputItem]) -> Iterator[str]:
    for item in cast("list[Any]", items):
        match item.get("type", "message"):
            case "message":
                yield f"## {_NAMES.get(item['role'], item['role'])}\n\n{_text(item)}\n\n"
            case "function_call":
                yield f"    {clean(call_text(item['name'], item['arguments']))}\n\n"
            case "function_call_output":
                lines = str(item["output"]).splitlines()
                yield "".join(f"    {line}\n" for line in lines) + "\n"
            case _:
                pass  # thinking is not part of what was said
