"""The prompt of a command: its argument, or what is piped in."""

import sys

import click


def read_prompt(argument: str | None) -> str:
    """*argument*; what is piped in when there is none, or it is ``-``.

    Beside a given prompt standard input is left alone: it may be a loop's, or a pipe without end.

    Raises:
        UsageError: There is neither, or it is no text.
    """
    if argument is not None and argument != "-":
        return _checked(argument)
    if argument is None and sys.stdin.isatty():
        raise click.UsageError("Missing argument 'PROMPT': write it, or pipe it in.")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as exc:
        raise click.UsageError("Standard input is not UTF-8 text.") from exc


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise click.UsageError("The prompt is not UTF-8 text.") from exc
    return text
