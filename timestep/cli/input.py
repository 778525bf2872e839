"""Reads what the user types or pipes in: prompts, lines, long messages, decisions."""

import os
import stat
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import click

try:
    import readline
except ImportError:  # not on Windows
    readline = None  # type: ignore[assignment] # not on Windows

_QUOTES = '"""'
_HISTORY_LINES = 1000
_MORE = ". "
_LONGEST = 60
"""The most characters of a call in a question about it."""
_NOT_TEXT = "Standard input is not UTF-8 text."


class UnendedMessageError(Exception):
    """A message begins with triple quotes and does not end with them."""


Decision: TypeAlias = Literal["yes", "no", "always"]
"""The user's decision about a tool call."""


def read_prompt(argument: str | None, files: Iterable[str] = ()) -> str:
    """Return *argument*, the text of *files* and what is piped in, as one prompt."""
    parts: list[str] = []
    for path in files:
        try:
            parts.append(f"{path}:\n\n{read_file(path, '--file').decode()}")
        except UnicodeDecodeError as exc:
            words = f"--file {path}: not UTF-8 text. --image shows an image."
            raise click.UsageError(words) from exc
    if argument is None and not parts and sys.stdin.isatty():
        raise click.UsageError("Missing argument 'PROMPT': write it, or pipe it in.")
    if argument is not None and argument != "-":
        try:
            argument.encode()
        except UnicodeEncodeError as exc:
            raise click.UsageError("The prompt is not UTF-8 text.") from exc
        parts.insert(0, argument)
    if argument == "-" or _is_piped() or not parts:
        try:
            parts.append(sys.stdin.buffer.read().decode())
        except UnicodeDecodeError as exc:
            raise click.UsageError(_NOT_TEXT) from exc
    return "\n\n".join(part for part in parts if part.strip())


def _is_piped() -> bool:
    """Return whether standard input is a pipe or a file, and not the null device or a socket."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except OSError:
        return True  # an object in the place of a file
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def read_file(path: str, option: str) -> bytes:
    """Return the content of the file at *path*, which *option* names."""
    try:
        mode = Path(path).stat().st_mode
        is_endless = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        data = b"" if is_endless else Path(path).read_bytes()
    except OSError as exc:
        raise click.UsageError(f"{option} {path}: {exc.strerror}.") from exc
    if is_endless:
        raise click.UsageError(f"{option} {path}: a device, not a file.")
    return data


def read_line(prompt: str) -> str:
    """Return the next line, without its line break. `EOFError` is the end of the input."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return input(prompt)
    if sys.stdin.isatty():
        click.echo(prompt, nl=False, err=True)
    try:
        line = sys.stdin.readline()
        line.encode()  # in the locale "C" Python reads what is not text as half surrogate pairs
    except UnicodeError as exc:
        raise click.UsageError(_NOT_TEXT) from exc
    if not line:
        raise EOFError
    return line.removesuffix("\n").removesuffix("\r")


def read_message(prompt: str) -> str:
    r"""Return the next message.

    A message is one line. A ``\`` at the end of a line continues it; three quotes begin and end a
    message of several lines. `EOFError` is the end of the input.
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
    """Ask whether *call* may run. The end of the input means no."""
    # The screen shows the whole call already, and a long prompt disturbs line editing.
    shown = call if len(call) <= _LONGEST else f"{call[:_LONGEST]}…"
    # Only these words count: the user may be typing something else when the call comes in.
    answers: dict[str, Decision] = {
        word: each for each in get_args(Decision) for word in (each, each[0])
    }
    while True:
        try:
            with _unremembered():
                answer = read_line(f"Run {shown}? [y]es, [n]o, [a]lways: ").strip().lower()
        except EOFError:
            return "no"
        except KeyboardInterrupt:
            click.echo(err=True)  # end the line of the question
            raise
        if answer in answers:
            return answers[answer]
        if not sys.stdin.isatty():
            return "no"


@contextmanager
def history() -> Generator[None]:
    """Let the block's prompts recall earlier lines, and keep its own lines for the next time."""
    if readline is None or not sys.stdin.isatty():
        yield
        return
    from timestep.cli.agent.conversation import private_file
    from timestep.cli.sessions import sessions_file

    path = private_file(sessions_file().with_name("chat_history"))
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LINES)
    readline.parse_and_bind("set enable-bracketed-paste on")  # pasted lines are one message
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
