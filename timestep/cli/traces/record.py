"""Opens the record of runs that the commands read."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context
from timestep.cli.output import clean

if TYPE_CHECKING:
    from timestep.traces import TraceStore


def short(trace_id: str) -> str:
    """Return the part of a trace id that people type."""
    return clean(trace_id).removeprefix("trace_")[:10]


def record_file(context: Context) -> Path:
    """Return the path of the record: that of ``--file``, or the configured one."""
    return context.trace_file or context.settings.traces.file


@contextmanager
def open_record(context: Context) -> "Generator[TraceStore]":
    """Open the record for the block."""
    from timestep.traces import StoreError, TraceStore

    path = record_file(context)
    # A path that is too long exists nowhere, too.
    if context.trace_file is not None and not os.path.exists(path):  # noqa: PTH110 - Path raises
        raise click.UsageError(f"{path} does not exist; correct --file, or leave it out.")
    try:
        with TraceStore(path) as store:
            yield store
    except StoreError as exc:
        raise click.ClickException(str(exc)) from exc
