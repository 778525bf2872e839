"""``timestep completion``, and the values that the shells complete."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from timestep.cli.context import find_context
from timestep.cli.output import clean

if TYPE_CHECKING:
    from timestep.traces.reader import TraceReader

FoundT = TypeVar("FoundT")
_Values: TypeAlias = "list[str | CompletionItem[str]]"
_VARIABLE = "_TIMESTEP_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the script that completes commands and model names in SHELL.

    \b
    bash:  echo 'eval "$(timestep completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(timestep completion zsh)"' >> ~/.zshrc
    fish:  timestep completion fish > ~/.config/fish/completions/timestep.fish
    """  # noqa: D301 - \b keeps the lines as they are
    complete = get_completion_class(shell)
    assert complete is not None, "click knows the shells that we offer"  # noqa: S101 - an invariant
    click.echo(complete(ctx.find_root().command, {}, "timestep", _VARIABLE).source())


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> _Values:
    """Return the models whose names begin with *incomplete*."""
    from timestep.cli.model_names import model_names

    try:
        names = model_names(find_context(ctx).settings)
    except click.ClickException:
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_session(ctx: click.Context, param: click.Parameter, incomplete: str) -> _Values:
    """Return the kept conversations whose names begin with *incomplete*, newest first."""
    from timestep.cli.sessions import kept_sessions

    try:
        found = kept_sessions()
    except click.ClickException:
        return []
    return [
        CompletionItem(session.name, help=clean(session.first))
        for session in found
        if session.name.startswith(incomplete)
    ]


def complete_trace(ctx: click.Context, param: click.Parameter, incomplete: str) -> _Values:
    """Return the recorded runs whose ids begin with *incomplete*, newest first."""
    from timestep.cli.traces.format import short

    runs = _of_record(ctx, lambda record: record.traces())
    if runs is None:
        return []
    found = [CompletionItem(short(run.trace_id), help=clean(run.name)) for run in runs]
    found.insert(0, CompletionItem("last"))
    return [item for item in found if item.value.startswith(incomplete)]


def complete_recorded(ctx: click.Context, param: click.Parameter, incomplete: str) -> _Values:
    """Return the recorded models, agents or tools, as *param* asks, that begin with *incomplete*."""
    values = _of_record(ctx, lambda record: record.values()) or {}
    return [value for value in values.get(param.name or "", ()) if value.startswith(incomplete)]


def _of_record(ctx: click.Context, read: "Callable[[TraceReader], FoundT]") -> "FoundT | None":
    """Return what *read* finds in the record; None when it cannot be read."""
    from timestep.cli.traces.format import open_record, record_file

    context = find_context(ctx)
    try:
        if not record_file(context).exists():  # a key press creates no file
            return None
        with open_record(context) as record:
            return read(record)
    except click.ClickException:
        return None


class _ColonBash(BashComplete):
    """Completes in bash, which starts a new word at each colon, as in ``ollama/qwen3:4b``."""

    source_template = BashComplete.source_template.replace(
        "env COMP_WORDS=",
        'env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" COMP_WORDS=',
    )
    _head = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the word under it."""
        line = os.environ["COMP_LINE"]
        _, *words = split_arg_string(line)
        typed = "" if not words or line[-1].isspace() else words.pop()
        if ":" in os.environ["COMP_BREAKS"] and ":" in typed:
            self._head = typed[: typed.rindex(":") + 1].rpartition("=")[2]
        return words, typed

    def format_completion(self, item: "CompletionItem[str]") -> str:
        """Return *item* without the part that bash takes for earlier words."""
        return f"{item.type},{item.value.removeprefix(self._head)}"


add_completion_class(_ColonBash)
