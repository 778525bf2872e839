"""The prompt of a command: its argument, and what is piped in."""

import sys

import click


def read_prompt(argument: str | None) -> str:
    """*argument*, then a blank line and what is piped in; ``-`` stands for the latter alone.

    Raises:
        UsageError: There is neither, or it is no text.
    """
    if argument != "-" and sys.stdin.isatty():
        if argument is None:
            raise click.UsageError("Missing argument 'PROMPT': write it, or pipe it in.")
        return _checked(argument)
    try:
        piped = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as exc:
        raise click.UsageError("Standard input is not UTF-8 text.") from exc
    if argument is None or argument == "-":
        return piped
    return _checked(f"{argument}\n\n{piped}" if piped.strip() else argument)


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise click.UsageError("The prompt is not UTF-8 text.") from exc
    return text
