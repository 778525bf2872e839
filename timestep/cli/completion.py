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

from timestep.cli.context import Context
from timestep.cli.output import clean

if TYPE_CHECKING:
    from timestep.traces.reader import TraceReader

FoundT = TypeVar("FoundT")
_Found: TypeAlias = "list[CompletionItem[str]]"
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


def _completing(find: Callable[[click.Context, click.Parameter], _Found]) -> Callable[..., _Found]:
    """Return a click completion of the values that *find* returns; no values if that fails."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> _Found:
        try:
            found = find(ctx, param)
        except click.ClickException:
            return []
        return [value for value in found if value.value.startswith(incomplete)]

    return complete


@_completing
def complete_model(ctx: click.Context, param: click.Parameter) -> _Found:
    """Return the names of models."""
    from timestep.cli.inventory import model_names

    return list(map(CompletionItem, model_names(ctx.ensure_object(Context).settings)))


@_completing
def complete_session(ctx: click.Context, param: click.Parameter) -> _Found:
    """Return the kept conversations, newest first."""
    from timestep.cli.sessions import kept_sessions

    return [CompletionItem(kept.name, help=clean(kept.first)) for kept in kept_sessions()]


@_completing
def complete_trace(ctx: click.Context, param: click.Parameter) -> _Found:
    """Return the ids of recorded runs, newest first."""
    from timestep.cli.traces.record import short

    runs = _of_record(ctx, lambda record: record.traces())
    found = [CompletionItem(short(run.trace_id), help=clean(run.name)) for run in runs or ()]
    return [] if runs is None else [CompletionItem("last"), *found]


@_completing
def complete_recorded(ctx: click.Context, param: click.Parameter) -> _Found:
    """Return the recorded models, agents or tools, as *param* asks."""
    values = _of_record(ctx, lambda record: record.values()) or {}
    return list(map(CompletionItem, values.get(param.name or "", ())))


def _of_record(ctx: click.Context, read: "Callable[[TraceReader], FoundT]") -> "FoundT | None":
    """Return what *read* finds in the record; None if there is none. A key press creates no file."""
    from timestep.cli.traces.record import open_record, record_file

    context = ctx.ensure_object(Context)
    if not record_file(context).exists():
        return None
    with open_record(context) as record:
        return read(record)


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
        """Return *item* without its beginning up to a colon, which bash keeps as a word of its own."""
        return f"{item.type},{item.value.removeprefix(self._head)}"


add_completion_class(_ColonBash)
