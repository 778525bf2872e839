"""What somebody types, or pipes in: lines, messages of several lines, decisions."""

import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

import click

from timestep.cli.agent.approval import Decision
from timestep.cli.agent.conversation import data_file

try:
    import readline
except ImportError:  # Windows has none
    readline = None  # type: ignore[assignment] # Windows has none

_QUOTES = '"""'
_HISTORY_LINES = 1000
_MORE = ". "
_LONGEST = 60
"""Characters of a call that are asked about."""


class UnendedMessageError(Exception):
    """A message that begins with quotes, and does not end with them."""


def read_line(prompt: str) -> str:
    """The next line, without its end.

    Raises:
        EOFError: There is none.
        UsageError: It is no text.
    """
    if sys.stdin.isatty() and sys.stdout.isatty():
        return input(prompt)
    if sys.stdin.isatty():
        click.echo(prompt, nl=False, err=True)
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError as exc:
        raise click.UsageError("Standard input is not UTF-8 text.") from exc
    if not line:
        raise EOFError
    return line.removesuffix("\n")


def read_message(prompt: str) -> str:
    r"""The next message: a line, and more where it ends in ``\`` or begins with three quotes.

    Raises:
        EOFError: There is none.
        UnendedMessageError: It ends before its closing quotes.
        UsageError: It is no text.
    """
    line = read_line(prompt)
    if line.startswith(_QUOTES):
        return _read_quoted(line.removeprefix(_QUOTES))
    lines = [line]
    with suppress(EOFError):
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(read_line(_MORE))
    return "\n".join(lines)


def _read_quoted(first: str) -> str:
    lines = [first]
    try:
        while not lines[-1].rstrip().endswith(_QUOTES):
            lines.append(read_line(_MORE))
    except EOFError as exc:
        raise UnendedMessageError(f"No {_QUOTES} ended the message; it was not sent.") from exc
    return "\n".join(lines).rstrip().removesuffix(_QUOTES).strip("\n")


def ask_decision(call: str) -> Decision:
    """What somebody says about *call*; no when nobody says anything."""
    # The whole call stands above, and an editor of lines is no place for a long one.
    shown = call if len(call) <= _LONGEST else f"{call[:_LONGEST]}…"
    # Nothing else is taken for one of them: somebody may type on while a call comes in.
    answers = {
        word: decision for decision in Decision for word in (decision.value, decision.value[0])
    }
    while True:
        try:
            with _unremembered():
                answer = read_line(f"Run {shown}? [y]es, [n]o, [a]lways: ").strip().lower()
        except EOFError:
            return Decision.NO
        if answer in answers:
            return answers[answer]
        if not sys.stdin.isatty():
            return Decision.NO


@contextmanager
def history() -> Generator[None]:
    """Lines of earlier times can be called back in the block, and its own later."""
    if readline is None or not sys.stdin.isatty():
        yield
        return
    path = data_file("chat_history")
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LINES)
    readline.parse_and_bind(
        "set enable-bracketed-paste on"
    )  # lines that are pasted are one message
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(path)


@contextmanager
def _unremembered() -> Generator[None]:
    if readline is not None:
        readline.set_auto_history(False)
    try:
        yield
    finally:
        if readline is not None:
            readline.set_auto_history(True)
