"""Shows one run as a tree, or the bytes of its model calls; and how two runs differ."""

import difflib
import sys
from collections.abc import Sequence

import click
from rich.text import Text
from rich.tree import Tree

from timestep.cli.figures import ago, clock, duration, tokens
from timestep.cli.output import clean, console, print_wrapped
from timestep.cli.terminal import printable
from timestep.cli.traces.record import short
from timestep.traces import Span, Trace, TraceStore
from timestep.traces.conversation import answered, asked, final_answer, question
from timestep.traces.diff import Difference, compare
from timestep.traces.summary import complaint, ending, headline, kind_of, measures, traceback_of
from timestep.traces.text import one_line

_COLORS = {"agent": "cyan", "generation": "green", "response": "green", "function": "yellow"}
_STYLES = {"failed": "red", "cut": "yellow", "cancelled": "yellow"}
_ANSWERS = {
    "cut": "Answer, cut at the token limit",
    "failed": "What the model had said",
    "cancelled": "What the model had said",
}
_UNANSWERED = frozenset({"failed", "cancelled", "running"})
_MOST_SHOWN = 600
"""How many characters of a question are shown, unless it is wanted in full."""


def print_run(trace: Trace, step: int | None, *, full: bool, verbose: bool) -> None:
    """Print *trace*, or only the model call with the number *step*.

    With *full* questions, answers and results are not shortened, with *verbose* tracebacks are shown.
    """
    spans = trace.spans if step is None else chosen_calls(trace, step)
    tree = _tree(trace, spans, full=full, verbose=verbose)
    if step is not None:
        console().print(tree)
        return
    first = next(
        (said for call in trace.model_calls if (said := question(call.data.get("input")))), ""
    )
    text = printable(first) or clean(trace.title)
    is_long = len(text) > _MOST_SHOWN and not full
    _print(Text(f"{text[:_MOST_SHOWN]}…" if is_long else text, style="bold"))
    console().print(tree)
    if answer := final_answer(trace):
        _print(Text(f"\n{_ANSWERS.get(trace.outcome, 'Answer')}:", style="dim"))
        _print(Text(printable(answer)))
    if trace.outcome in _UNANSWERED:
        _print(Text(f"\n{clean(ending(trace).sentence('The run'))}", style="red"))


def _print(text: Text) -> None:
    # A terminal wraps at words; what reads a pipe wants the lines as they are.
    console().print(text, soft_wrap=not sys.stdout.isatty())


def chosen_calls(trace: Trace, step: int | None) -> list[Span]:
    """Return the model calls of *trace*, or only the one with the number *step*."""
    calls = trace.model_calls
    if step is None:
        return calls
    if step > len(calls):
        raise click.UsageError(
            f"Model call {step} does not exist: the run has {len(calls)} model calls."
        )
    return [calls[step - 1]]


def print_raw(store: TraceStore, calls: list[Span]) -> None:
    """Print the bodies on stdout, unchanged unless it is a terminal, and a line about each exchange on stderr."""
    exchanges = [exchange for call in calls for exchange in call.exchanges]
    if not exchanges:
        raise click.ClickException(
            "No bytes are stored: only timestep's own models keep them, and only if their content may "
            "be recorded. 'timestep traces show --full' shows what is stored."
        )
    for exchange in exchanges:
        status = "no answer" if exchange.status is None else exchange.status
        click.echo(f"POST {clean(exchange.url)} → {status}", err=True)
        for digest in (exchange.request, exchange.response):
            body = store.body(digest)
            if sys.stdout.isatty():
                click.echo(printable(body.decode("utf-8", "replace")).removesuffix("\n"))
                continue
            sys.stdout.flush()
            sys.stdout.buffer.write(body if body.endswith(b"\n") else body + b"\n")
            sys.stdout.buffer.flush()


def _tree(trace: Trace, spans: Sequence[Span], *, full: bool, verbose: bool) -> Tree:
    tree = Tree(_head(trace))
    branches: dict[str, Tree] = {}
    for _, span in trace.walk():
        if span not in spans:
            continue
        parent = branches.get(span.parent_id or "", tree)
        branches[span.span_id] = branch = parent.add(_label(span))
        for line in _details(span, full=full, verbose=verbose):
            branch.add(line)
    return tree


def _head(trace: Trace) -> Text:
    head = Text(f"{short(trace.trace_id)}  {trace.outcome}", style=_STYLES.get(trace.outcome, ""))
    facts = [
        clean(trace.name),
        "" if trace.group_id is None else f"session {clean(trace.group_id)}",
        f"{clock(trace.started_at)} ({ago(trace.started_at)} ago)",
        duration(trace.total_seconds),
    ]
    head.append("  " + "  ".join(fact for fact in facts if fact), style="dim")
    return head


def _label(span: Span) -> Text:
    text = Text(f"{kind_of(span)} ".lstrip(), style="dim")
    title = clean(span.name if span.is_model_call else headline(span))
    text.append(title, style=_COLORS.get(span.kind, ""))
    facts = [
        duration(span.total_seconds),
        tokens(span.input_tokens, span.output_tokens),
        *measures(span),
    ]
    text.append("  " + "  ".join(fact for fact in facts if fact), style="dim")
    if span.error:
        text.append(f"  {clean(complaint(span))}", style="red")
    return text


def _details(span: Span, *, full: bool, verbose: bool) -> list[Text]:
    if verbose and (trace := traceback_of(span)):
        return [Text(printable(trace).rstrip())]
    said: list[tuple[str, object]] = []
    if span.is_model_call:
        for message in [*(asked(span) if full else ()), *answered(span)]:
            said.append(("thinking", message.thinking))
            said.append(("" if message.role == "assistant" else message.role, message.text))
            said.append((message.role, message.images and f"{message.images} images"))
            said += [("calls", str(call)) for call in message.calls]
    elif span.is_tool_call:
        said.append(("→", span.data.get("output")))
    return [_aside(label, text, full=full) for label, text in said if text not in (None, "", 0)]


def _aside(label: str, said: object, *, full: bool) -> Text:
    line = Text(f"{label} " if label else "", style="dim")
    is_whole = full and isinstance(said, str)
    line.append(printable(str(said)) if is_whole else clean(one_line(said, 120)))
    return line


def print_comparison(left: Trace, right: Trace, ends: Sequence[str], *, is_same_end: bool) -> None:
    """Print the differences between two runs, and *ends*, which say how they ended."""
    print_wrapped(_heading("-", left), below=2)
    print_wrapped(_heading("+", right), below=2)
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


def _heading(sign: str, trace: Trace) -> str:
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
