"""A conversation with an agent: messages, answers, and the commands between them."""

import asyncio
import difflib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import click
from agents import TResponseInputItem

from timestep.cli.agent.approval import Approver, Decision, run_to_answer, with_approval
from timestep.cli.agent.conversation import Conversation, load_conversation, said
from timestep.cli.agent.run import Turn, read_arguments
from timestep.cli.agent.screen import Screen, call_text
from timestep.cli.agent.setup import Asking
from timestep.cli.errors import explain
from timestep.cli.event_loop import impatient_runner
from timestep.cli.input import UnendedMessageError, ask_decision, history, read_message
from timestep.cli.output import print_aside, print_rows
from timestep.cli.run.answer import is_text, print_costs, print_typed, quiet_sdk, why
from timestep.cli.streams import is_output_lost

_PROMPT = "> "
_HELP = (
    'A line that ends in \\ goes on in the next one; """ begins and ends a message of many lines. '
    "A space before a slash makes it a message. Ctrl-C stops an answer."
)
_MARKS = ("'", '"')
_NAMES = {"user": "You", "assistant": "Answer"}


def talk(asking: Asking, *, session: str | None, approves: bool) -> None:
    """Answer what is typed until there is no more.

    Args:
        asking: Who is asked first, and how; the provider is closed afterwards.
        session: The name of the conversation to go on with.
        approves: Whether somebody is asked before every tool call.

    Raises:
        ClickException: The conversation cannot be read.
        Exit: With 1, when nobody was there to see that an answer or a command failed.
    """
    quiet_sdk()
    if approves:
        asking = replace(asking, agent=with_approval(asking.agent))
    group = session or f"chat_{uuid4().hex[:12]}"
    asking = replace(asking, config=replace(asking.config, group_id=group))
    with impatient_runner() as loop, history():
        conversation = loop.run(load_conversation(session))
        dialogue = Dialogue(loop, asking, conversation)
        try:
            dialogue.run()
        finally:
            conversation.close()
            loop.run(asking.provider.aclose())
    if dialogue.has_failed and not sys.stdin.isatty():
        raise click.exceptions.Exit(1)


class Dialogue:
    """Reads messages and commands, and answers.

    Attributes:
        has_failed: True once there was no answer to a message, or a command failed.
    """

    def __init__(self, loop: asyncio.Runner, asking: Asking, conversation: Conversation) -> None:
        self.has_failed = False
        self._loop = loop
        self._asking = asking
        self._conversation = conversation
        self._approver = Approver(_decide)
        self._commands: dict[str, tuple[str, Callable[[str], None]]] = {
            "/help": ("Show the commands.", self._help),
            "/model [NAME]": ("Show the model, or go on with another.", self._model),
            "/tools": ("Show what the agent can call.", self._tools),
            "/undo": ("Take back the last message and its answer.", self._undo),
            "/save FILE": ("Write the conversation, as Markdown or .json.", self._save),
            "/quit": ("Leave, as Ctrl-D does.", self._quit),
        }

    def run(self) -> None:
        """Read and answer until the end of the input, or ``/quit``."""
        self._greet()
        while True:
            try:
                message = read_message(_PROMPT)
                if message.startswith("/"):
                    self._command(message)
                elif message.strip():
                    self._answer(message)
            except KeyboardInterrupt:
                click.echo(err=True)
            except UnendedMessageError as exc:
                self._refuse(str(exc))
            except _Left:
                return
            except EOFError:
                if sys.stdin.isatty():
                    click.echo(err=True)
                return

    def _greet(self) -> None:
        if not sys.stdin.isatty():
            return
        model = self._asking.model_of(self._asking.agent)
        print_aside(f"{model}. /help shows the commands; Ctrl-D leaves.")
        if self._conversation.items:
            said = sum(item.get("role") == "user" for item in self._conversation.items)
            print_aside(f"The conversation has {said} message{'s' if said > 1 else ''} so far.")

    def _answer(self, message: str) -> None:
        question: TResponseInputItem = {"role": "user", "content": message}
        given = [*self._conversation.items, question]
        screen = Screen(shows_text=is_text(self._asking.agent))
        turn = Turn(screen.show)
        try:
            result = run_to_answer(self._loop, self._asking, turn, given, self._approver)
        except KeyboardInterrupt:
            screen.end()
            click.echo("Stopped.", err=True)
            if turn.text:
                self._keep([question, {"role": "assistant", "content": turn.text}])
            return
        except Exception as exc:  # providers of other packages raise what they like
            if is_output_lost(exc):
                raise
            screen.end()
            self.has_failed = True
            click.ClickException(why(turn, exc)).show()
            return
        screen.end()
        print_typed(result, self._asking.agent)
        print_costs(turn)
        if sys.stderr.isatty():
            click.echo(err=True)
        self._keep([question, *said(result)])
        self._asking = replace(self._asking, agent=result.last_agent)

    def _keep(self, items: list[TResponseInputItem]) -> None:
        self._loop.run(self._conversation.extend(items))

    def _command(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        known = {usage.split()[0]: run for usage, (_, run) in self._commands.items()}
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "/help shows the commands."
            self._refuse(f"There is no {name}. {hint}")
            return
        known[name](argument.strip())

    def _help(self, argument: str) -> None:
        print_rows([(usage, text) for usage, (text, _) in self._commands.items()])
        click.echo()
        print_aside(_HELP)

    def _model(self, name: str) -> None:
        if name:
            try:
                self._asking = self._asking.with_model(name)
            except Exception as exc:  # noqa: BLE001 - providers of other packages raise what they like
                self.has_failed = True
                click.ClickException(explain(exc)).show()
                return
        click.echo(self._asking.model_of(self._asking.agent))

    def _tools(self, argument: str) -> None:
        agent = self._asking.agent
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

    def _undo(self, argument: str) -> None:
        taken = self._loop.run(self._conversation.undo())
        if taken is None:
            self._refuse("There is nothing to take back.")
        else:
            print_aside(f"Taken back: {_words(taken)}")

    def _save(self, argument: str) -> None:
        if argument[:1] in _MARKS and argument.endswith(argument[0]):
            argument = argument[1:-1]  # as a shell takes a name with spaces
        if not argument:
            self._refuse("Name a file: /save FILE")
            return
        items = self._conversation.items
        if not items:
            self._refuse("There is nothing to save.")
            return
        is_json = argument.endswith(".json")
        text = (
            json.dumps(items, ensure_ascii=False, indent=2)
            if is_json
            else "".join(_markdown(items))
        )
        try:
            with Path(argument).expanduser().open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            self._refuse(f"{argument} exists already; name another file.")
        except OSError as exc:
            self._refuse(f"{argument} cannot be written: {exc.strerror}.")
        else:
            print_aside(f"Saved {argument}")

    def _refuse(self, why: str) -> None:
        self.has_failed = True
        print_aside(why)

    def _quit(self, argument: str) -> None:
        raise _Left


class _Left(Exception):  # noqa: N818 - no error: somebody has enough
    pass


def _decide(call: str) -> Decision:
    try:
        return ask_decision(call)
    except KeyboardInterrupt:
        click.echo(err=True)  # what follows is no part of the question
        raise


def _words(item: Any) -> str:
    """The text of a message."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or ())


def _markdown(items: list[TResponseInputItem]) -> Iterator[str]:
    for item in cast("list[Any]", items):
        match item.get("type", "message"):
            case "message":
                yield f"## {_NAMES.get(item['role'], item['role'])}\n\n{_words(item)}\n\n"
            case "function_call":
                call = call_text(item["name"], read_arguments(item["arguments"]))
                yield f"    {call}\n\n"
            case "function_call_output":
                lines = str(item["output"]).splitlines()
                yield "".join(f"    {line}\n" for line in lines) + "\n"
            case _:
                pass  # thinking, which is not said
