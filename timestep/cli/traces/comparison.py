"""Shows how two runs differ, step by step."""

import difflib
from collections.abc import Sequence

import click

from timestep.cli.output import clean, print_wrapped
from timestep.cli.terminal import printable
from timestep.cli.traces.format import duration, short, tokens
from timestep.traces import Span, Trace
from timestep.traces.diff import Difference, compare
from timestep.traces.summary import headline, kind_of
from timestep.traces.text import one_line


def print_comparison(left: Trace, right: Trace, ends: Sequence[str], *, is_same_end: bool) -> None:
    """Print the differences between two runs, and *ends*, which say how they ended."""
    print_wrapped(_head("-", left), below=2)
    print_wrapped(_head("+", right), below=2)
    pairs = compare(left, right)
    for pair in pairs:
        if pair.left is not None and pair.right is not None:
            print_wrapped(f"{' ' if pair.is_same else '~'} {_step(pair.right, pair.left)}", below=2)
            for difference in pair.differences:
                _print_difference(difference)
        elif pair.left is not None:
            print_wrapped(f"- {_step(pair.left)}", below=2, fg="red")
        elif pair.right is not None:
            print_wrapped(f"+ {_step(pair.right)}", below=2, fg="green")
    for sentence in ends:
        print_wrapped(clean(sentence))
    if not is_same_end:
        click.echo("They did not end the same.")
    elif all(pair.is_same for pair in pairs):
        click.echo("Both runs did the same.")
    else:
        click.echo("They ended the same, but not every step is the same.")


def _head(sign: str, trace: Trace) -> str:
    return f"{sign} {short(trace.trace_id)}  {clean(one_line(trace.title, 50))}  {duration(trace.total_seconds)}"


def _step(span: Span, other: Span | None = None) -> str:
    name = span.name if other is not None and span.is_model_call else headline(span)
    times = " / ".join(duration(each.total_seconds) for each in (other, span) if each is not None)
    used = " / ".join(
        text
        for each in (other, span)
        if each is not None and (text := tokens(each.input_tokens, each.output_tokens))
    )
    name = clean(f"{kind_of(span)} {name}")
    return "  ".join(part for part in (name, times, used) if part)


def _print_difference(difference: Difference) -> None:
    click.echo(f"    {difference.field}:")
    lines = difflib.ndiff(
        printable(difference.left).splitlines(), printable(difference.right).splitlines()
    )
    colors = {"-": "red", "+": "green"}
    for line in lines:
        if not line.startswith("?"):
            print_wrapped(f"      {line}", below=8, fg=colors.get(line[0]))
