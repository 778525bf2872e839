"""What the commands share in options and words."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from timestep.cli.output import clean

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MINUTE = 60


def json_options(command: _Command) -> _Command:
    """*command* with ``--json`` and ``--jsonl``."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
    as_lines = click.option(
        "--jsonl", "as_lines", is_flag=True, help="Print one JSON value a line."
    )
    return as_json(as_lines(command))


def short(trace_id: str) -> str:
    """The part of an id that people type."""
    return clean(trace_id).removeprefix("trace_")[:10]


def clock(at: float) -> str:
    """The Unix time *at* as date and time here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def duration(seconds: float | None) -> str:
    """*seconds* for people."""
    if seconds is None:
        return "…"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE)} min {seconds % _MINUTE:.0f} s"


def tokens(given: int | None, made: int | None) -> str:
    """Tokens in and out, for people."""
    return "" if given is None and made is None else f"{given or 0:,} → {made or 0:,} tokens"
