"""``timestep traces show``: show one run as a tree, or the bytes of its model calls."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.output import clean, console, print_json, print_lines
from timestep.cli.terminal import printable
from timestep.cli.traces.format import ago, clock, duration, open_record, short, tokens

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from timestep.traces import Span, Trace, TraceStore
    from timestep.traces.conversation import Message

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


@click.command()
@click.argument("run", metavar="ID", default="last", shell_complete=complete_trace)
@click.option("--raw", is_flag=True, help="Print the exact requests and answers of its models.")
@click.option("--step", type=click.IntRange(1), help="Only the model call with this number.")
@click.option("--full", is_flag=True, help="Print questions, answers and results in full.")
@click.option("--verbose", is_flag=True, help="Print the tracebacks of tools that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line.")
@pass_context
def show(
    context: Context,
    *,
    run: str,
    raw: bool,
    step: int | None,
    full: bool,
    verbose: bool,
    as_json: bool,
    as_lines: bool,
) -> None:
    """Show one run: its question, what it did as a tree, and its answer."""
    from timestep.traces.export import export_lines, export_trace

    with open_record(context) as store:
        trace = store.get(run)
        if raw:
            _print_raw(store, _chosen(trace, step))
        elif as_json:
            print_json(export_trace(trace))
        elif as_lines:
            print_lines(export_lines(trace))
        elif step is not None:
            console().print(_tree(trace, _chosen(trace, step), _Shown(full, verbose)))
        else:
            _print_run(trace, _Shown(full, verbose))


@dataclass(frozen=True)
class _Shown:
    """How much is shown.

    Attributes:
        full: Questions, answers and results are not shortened.
        verbose: Tracebacks are shown.
    """

    full: bool
    verbose: bool


def _print_run(trace: "Trace", shown: _Shown) -> None:
    from rich.text import Text

    from timestep.traces.conversation import final_answer, question
    from timestep.traces.outcome import ending

    asked = next(
        (said for call in trace.model_calls if (said := question(call.data.get("input")))), ""
    )
    text = printable(asked) or clean(trace.title)
    is_long = len(text) > _MOST_SHOWN and not shown.full
    _print(Text(f"{text[:_MOST_SHOWN]}…" if is_long else text, style="bold"))
    console().print(_tree(trace, trace.spans, shown))
    if answer := final_answer(trace):
        _print(Text(f"\n{_ANSWERS.get(trace.outcome, 'Answer')}:", style="dim"))
        _print(Text(printable(answer)))
    if trace.outcome in _UNANSWERED:
        _print(Text(f"\n{clean(ending(trace).sentence('The run'))}", style="red"))


def _print(text: "Text") -> None:
    # A terminal wraps at words; what reads a pipe wants the lines as they are.
    console().print(text, soft_wrap=not sys.stdout.isatty())


def _chosen(trace: "Trace", step: int | None) -> "list[Span]":
    calls = trace.model_calls
    if step is None:
        return calls
    if step > len(calls):
        raise click.UsageError(
            f"Model call {step} does not exist: the run has {len(calls)} model calls."
        )
    return [calls[step - 1]]


def _print_raw(store: "TraceStore", calls: "list[Span]") -> None:
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


def _tree(trace: "Trace", spans: "Sequence[Span]", shown: _Shown) -> "Tree":
    from rich.tree import Tree

    tree = Tree(_head(trace))
    branches: dict[str, Tree] = {}
    for _, span in trace.walk():
        if span not in spans:
            continue
        parent = branches.get(span.parent_id or "", tree)
        branches[span.span_id] = branch = parent.add(_label(span))
        for line in _details(span, shown):
            branch.add(line)
    return tree


def _head(trace: "Trace") -> "Text":
    from rich.text import Text

    head = Text(f"{short(trace.trace_id)}  {trace.outcome}", style=_STYLES.get(trace.outcome, ""))
    facts = [
        clean(trace.name),
        "" if trace.group_id is None else f"session {clean(trace.group_id)}",
        f"{clock(trace.started_at)} ({ago(trace.started_at)} ago)",
        duration(trace.total_seconds),
    ]
    head.append("  " + "  ".join(fact for fact in facts if fact), style="dim")
    return head


def _label(span: "Span") -> "Text":
    from rich.text import Text

    from timestep.traces.summary import complaint, headline, kind_of, measures

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


def _details(span: "Span", shown: _Shown) -> "list[Text]":
    from rich.text import Text

    from timestep.traces.conversation import answered, asked
    from timestep.traces.summary import traceback_of
    from timestep.traces.text import one_line

    full = shown.full
    if shown.verbose and (trace := traceback_of(span)):
        return [Text(printable(trace).rstrip())]

    if span.is_model_call:
        said = [*(asked(span) if full else ()), *answered(span)]
        return [line for message in said for line in _message_lines(message, full=full)]
    if span.is_tool_call and span.data.get("output") is not None:
        output = span.data["output"]
        return [
            _aside(
                "→",
                output if full and isinstance(output, str) else one_line(output, 120),
                full=full,
            )
        ]
    return []


def _message_lines(message: "Message", *, full: bool) -> "list[Text]":
    lines = [_aside("thinking", message.thinking, full=full)] if message.thinking else []
    if message.text:
        lines.append(
            _aside("" if message.role == "assistant" else message.role, message.text, full=full)
        )
    if message.images:
        lines.append(_aside(message.role, f"{message.images} images", full=full))
    return [*lines, *(_aside("calls", str(call), full=full) for call in message.calls)]


def _aside(label: str, text: str, *, full: bool) -> "Text":
    from rich.text import Text

    from timestep.cli.terminal import printable
    from timestep.traces.text import one_line

    line = Text(f"{label} " if label else "", style="dim")
    line.append(printable(text) if full else clean(one_line(text, 120)))
    return line
