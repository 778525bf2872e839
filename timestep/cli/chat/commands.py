"""The slash commands of a chat, and the state they share with its loop."""

import asyncio
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click
from agents import TResponseInputItem

from timestep.cli.agent.conversation import Conversation
from timestep.cli.agent.setup import RunSetup
from timestep.cli.errors import explain
from timestep.cli.inventory import list_openai, ollama_providers
from timestep.cli.output import (
    clean,
    did_you_mean,
    print_aside,
    print_error,
    print_rows,
    write_file,
)
from timestep.cli.terminal import printable
from timestep.net.model_names import is_cloud_name
from timestep.routing import split_prefix
from timestep.traces.conversation import question, read_messages

_HELP = (
    'A line that ends in \\ continues on the next line; """ begins and ends a message of several '
    "lines. A space before a slash makes it a message. Ctrl-C stops an answer."
)
_GOODBYES = ("/exit", "/bye")
"""What other programs call ``/quit``."""
_QUOTES = ("'", '"')


class QuitChat(Exception):  # noqa: N818 - not an error: the user leaves
    """The user leaves the chat."""


@dataclass
class ChatState:
    """What changes during a chat."""

    loop: asyncio.Runner
    setup: RunSetup
    conversation: Conversation
    shows_costs: bool = True
    is_verbose: bool = False
    # The last message, if it got no answer. It is not part of the conversation.
    failed: str | None = None
    has_failed: bool = False  # True once a message has no answer, or a command failed

    def refuse(self, why: str) -> None:
        """Say why a command is not carried out."""
        self.has_failed = True
        print_aside(why)

    def fail(self, why: str) -> None:
        """Report an error."""
        self.has_failed = True
        print_error(why)


def run_command(state: ChatState, line: str) -> str | None:
    """Run the slash command in *line*. Return the message that it sends, if it sends one."""
    name, _, argument = line.partition(" ")
    known = {usage.split()[0]: run for usage, (_, run) in _COMMANDS.items()}
    known |= dict.fromkeys(_GOODBYES, _quit)
    if name in known:
        return known[name](state, argument.strip())
    hint = did_you_mean(name, known) or " /help shows the commands."
    state.refuse(f"There is no {name}.{hint}")
    return None


def _help(state: ChatState, argument: str) -> None:
    print_rows([(usage, text) for usage, (text, _) in _COMMANDS.items()])
    click.echo()
    print_aside(_HELP)


def _model(state: ChatState, name: str) -> None:
    if name:
        try:
            state.setup.provider.get_model(name)
            setup = replace(state.setup, config=replace(state.setup.config, model=name))
            state.loop.run(check_model(setup))
            state.setup = setup
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
    taken = _take_back(state, "There is nothing to take back.")
    if taken is not None:
        print_aside(f"Taken back: {taken}")


def _retry(state: ChatState, argument: str) -> str | None:
    return _take_back(state, "There is no message to send again.")


def _take_back(state: ChatState, otherwise: str) -> str | None:
    """Take the last message back and return it: the one that failed, or one of the conversation."""
    if state.failed is not None:
        taken, state.failed = state.failed, None
        return taken
    removed = state.loop.run(state.conversation.undo())
    if removed is None:
        state.refuse(otherwise)
        return None
    return question([removed])


def _clear(state: ChatState, argument: str) -> None:
    state.loop.run(state.conversation.clear())
    state.failed = None
    print_aside("The conversation begins again.")


def _history(state: ChatState, argument: str) -> None:
    if state.conversation.items:
        for line in _lines(state.conversation.items):
            click.echo(printable(line))
    else:
        print_aside("The conversation is empty.")


def _save(state: ChatState, argument: str) -> None:
    if argument[:1] in _QUOTES and argument.endswith(argument[0]):
        argument = argument[1:-1]  # quoted for its spaces, as in a shell
    items = state.conversation.items
    if not argument or not items:
        state.refuse("There is nothing to save." if argument else "Name a file: /save FILE")
        return
    is_json = argument.endswith(".json")
    text = json.dumps(items, ensure_ascii=False, indent=2) if is_json else "".join(_markdown(items))
    try:
        write_file(Path(argument).expanduser(), text, is_new=True)
    except click.ClickException as exc:
        state.refuse(exc.message)
    else:
        print_aside(f"Saved {argument}")


def _quit(state: ChatState, argument: str) -> None:
    raise QuitChat


_COMMANDS: dict[str, tuple[str, Callable[[ChatState, str], str | None]]] = {
    "/help": ("Show the commands.", _help),
    "/model [NAME]": ("Show the model, or switch to another.", _model),
    "/tools": ("Show what the agent can call.", _tools),
    "/undo": ("Take back the last message and its answer.", _undo),
    "/retry": ("Send the last message again.", _retry),
    "/clear": ("Forget the conversation, even if it is kept.", _clear),
    "/history": ("Show the conversation.", _history),
    "/save FILE": ("Write the conversation as Markdown, or as .json.", _save),
    "/quit": ("Leave, as Ctrl-D does.", _quit),
}


_NAMES = {"user": "You", "assistant": "Answer"}


def print_exchange(items: Sequence[TResponseInputItem]) -> None:
    """Print the last question in *items* and its answer on stderr."""
    starts = [index for index, item in enumerate(items) if item.get("role") == "user"]
    for line in _lines(items[starts[-1] :] if starts else items):
        click.echo(click.style(printable(line), dim=True), err=True)


def _lines(items: Sequence[TResponseInputItem]) -> Iterator[str]:
    """Yield what was said. Results are long, and thinking is not part of it."""
    for message in read_messages(items):
        if message.role == "user":
            yield f"> {message.text}"
        elif message.role == "assistant":
            yield from [f"{message.text}\n"] if message.text else ()
            yield from (f"tool     {clean(str(call))}" for call in message.calls)


def _markdown(items: Sequence[TResponseInputItem]) -> Iterator[str]:
    """Yield *items* as pieces of a Markdown document."""
    for message in read_messages(items):
        if message.role == "tool":
            yield textwrap.indent(message.text, "    ", lambda _: True) + "\n\n"
        elif message.text and (message.role in {*_NAMES, "system"}):
            yield f"## {_NAMES.get(message.role, message.role)}\n\n{message.text}\n\n"
        yield from (f"    {clean(str(call))}\n\n" for call in message.calls)


_PATIENCE = 10.0


async def check_model(setup: RunSetup) -> None:
    """Refuse a model that its Ollama server lacks; say so if another server does not list it."""
    name = setup.model_of(setup.agent)
    prefix, rest = split_prefix(name)
    ollama = ollama_providers(setup.provider).get(prefix or "")
    if ollama is not None:
        if is_cloud_name(rest):
            return  # a server knows those that were used there before
        wire = ollama.wire(rest)
        try:
            async with asyncio.timeout(_PATIENCE):
                await wire.ask("/api/show", {"model": rest})
        except TimeoutError:
            url = wire.endpoint.base_url
            print_aside(f"{url} did not say within {_PATIENCE:g} s whether it has {rest}.")
    elif (table := setup.settings.openai_tables.get(prefix or "openai")) is not None:
        listed = await list_openai("" if prefix == "openai" else prefix or "", table, _PATIENCE)
        offered, plain = [offer.name for offer in listed.offers], name.removeprefix("openai/")
        # A list may be incomplete: some servers take names that they do not list.
        if offered and plain not in offered:
            print_aside(f"The server does not list {name}.{did_you_mean(plain, offered)}")
