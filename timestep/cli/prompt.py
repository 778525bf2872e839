"""The prompt of a command, when it is not among its arguments."""

import sys

import click


def read_prompt() -> str:
    """What is piped in.

    Raises:
        UsageError: Nothing is, or it is no text.
    """
    if sys.stdin.isatty():
        raise click.UsageError("Missing argument 'PROMPT': write it, or pipe it in.")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as exc:
        raise click.UsageError("Standard input is not UTF-8 text.") from exc
