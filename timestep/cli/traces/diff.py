"""``timestep traces diff``: compare two runs, step by step."""

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.output import clean, json_option, print_json, print_wrapped
from timestep.cli.terminal import printable
from timestep.cli.traces.format import duration, open_record, short, tokens

if TYPE_CHECKING:
    from timestep.traces import Span, Trace
    from timestep.traces.diff import Difference


@click.command()
@click.argument("left", metavar="ID", shell_complete=complete_trace)
@click.argument("right", metavar="ID", default="last", shell_complete=complete_trace)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if the runs differ.")
@json_option
@pass_context
def diff(context: Context, *, left: str, right: str, exit_code: bool, as_json: bool) -> None:
    """Compare two runs, step by step. By default the second is the last run."""
    from timestep.traces.export import view_diff
    from timestep.traces.outcome import ending

    with open_record(context) as store:
        ours, theirs = store.get(left), store.get(right)
    compared = view_diff(ours, theirs)
    if as_json:
        print_json(compared)
    else:
        ends = ending(ours), ending(theirs)
        print_comparison(
            ours,
            theirs,
            (ends[0].sentence("The first run"), ends[1].sentence("The second run")),
            is_same_end=ends[0] == ends[1],
        )
    if exit_code and not compared["same"]:
        click.get_current_context().exit(1)


def print_comparison(
    left: "Trace", right: "Trace", ends: Sequence[str], *, is_same_end: bool
) -> None:
    """Print the differences between two runs, and *ends*, which say how they ended."""
    from timestep.traces.diff import compare

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


def _head(sign: str, trace: "Trace") -> str:
    from timestep.traces.text import one_line

    return f"{sign} {short(trace.trace_id)}  {clean(one_line(trace.title, 50))}  {duration(trace.total_seconds)}"


def _step(span: "Span", other: "Span | None" = None) -> str:
    from timestep.traces.summary import headline, kind_of

    name = span.name if other is not None and span.is_model_call else headline(span)
    times = " / ".join(duration(each.total_seconds) for each in (other, span) if each is not None)
    used = " / ".join(
        text
        for each in (other, span)
        if each is not None and (text := tokens(each.input_tokens, each.output_tokens))
    )
    name = clean(f"{kind_of(span)} {name}")
    return "  ".join(part for part in (name, times, used) if part)


def _print_difference(difference: "Difference") -> None:
    click.echo(f"    {difference.field}:")
    lines = difflib.ndiff(
        printable(difference.left).splitlines(), printable(difference.right).splitlines()
    )
    colors = {"-": "red", "+": "green"}
    for line in lines:
        if not line.startswith("?"):
            print_wrapped(f"      {line}", below=8, fg=colors.get(line[0]))
