"""``timestep traces show``: show one run as a tree, or the bytes of its model calls."""

import sys
from typing import TYPE_CHECKING, cast

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.output import clean, console, print_json, print_lines
from timestep.cli.terminal import printable
from timestep.cli.traces.format import clock, duration, short, tokens
from timestep.cli.traces.record import open_record

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from timestep.traces import Span, Trace, TraceStore
    from timestep.traces.conversation import Message

_COLORS = {"agent": "cyan", "generation": "green", "response": "green", "function": "yellow"}


@click.command()
@click.argument("run", metavar="ID", default="last")
@click.option("--raw", is_flag=True, help="Print the exact requests and answers of its models.")
@click.option("--step", type=click.IntRange(1), help="Only the model call with this number.")
@click.option("--full", is_flag=True, help="Print questions, answers and results in full.")
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
    as_json: bool,
    as_lines: bool,
) -> None:
    """Show one run as a tree of agents, turns, model calls, tools, handoffs and guardrails."""
    from timestep.traces.export import export_lines, export_trace

    with open_record(context) as store:
        trace = store.get(run)
        if raw:
            _print_raw(store, _chosen(trace, step))
        elif as_json:
            print_json(export_trace(trace))
        elif as_lines:
            print_lines(export_lines(trace))
        else:
            console().print(_tree(trace, None if step is None else _chosen(trace, step), full=full))


def _chosen(trace: "Trace", step: int | None) -> "list[Span]":
    calls = trace.model_calls
    if step is None:
        return calls
    if step > len(calls):
        raise click.UsageError(f"The run has {len(calls)} model calls, so there is no {step}.")
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


def _tree(trace: "Trace", only: "list[Span] | None", *, full: bool) -> "Tree":
    from rich.text import Text
    from rich.tree import Tree

    head = Text(clean(trace.name), style="bold")
    facts = [short(trace.trace_id), clock(trace.started_at), duration(trace.total_seconds)]
    head.append("  " + "  ".join(facts), style="dim")
    tree = Tree(head)
    branches: dict[str, Tree] = {}
    spans = trace.spans if only is None else only
    for _, span in trace.walk():
        if span not in spans:
            continue
        parent = branches.get(span.parent_id or "", tree)
        branches[span.span_id] = branch = parent.add(_label(span))
        for line in _details(span, full=full):
            branch.add(line)
    return tree


def _label(span: "Span") -> "Text":
    from rich.text import Text

    from timestep.traces.summary import headline, measures

    kind = "" if span.kind in {"turn", "generation", "response", "function"} else f"{span.kind} "
    text = Text(kind, style="dim")
    title = clean(span.name if span.is_model_call else headline(span))
    text.append(title, style=_COLORS.get(span.kind, ""))
    facts = [
        duration(span.total_seconds),
        tokens(span.input_tokens, span.output_tokens),
        *measures(span),
    ]
    text.append("  " + "  ".join(fact for fact in facts if fact), style="dim")
    if span.error:
        text.append(f"  {clean(_complaint(span))}", style="red")
    return text


def _details(span: "Span", *, full: bool) -> "list[Text]":
    from timestep.traces.conversation import answered, asked
    from timestep.traces.text import one_line

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


def _complaint(span: "Span") -> str:
    error = dict(span.error or {})
    details = error.get("data")
    said = cast("dict[str, object]", details).get("error") if isinstance(details, dict) else None
    return ": ".join(str(part) for part in (error.get("message"), said) if part)
