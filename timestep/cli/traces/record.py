"""The file in which runs are recorded."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context

if TYPE_CHECKING:
    from timestep.traces import TraceStore


def record_file(context: Context) -> Path:
    """Return the path of the record: that of ``--file``, or the configured one."""
    return context.trace_file or context.settings.traces.file


@contextmanager
def open_record(context: Context) -> "Generator[TraceStore]":
    """Open the record for the block."""
    from timestep.traces import StoreError, TraceStore

    path = record_file(context)
    if context.trace_file is not None:
        _check_file(path)
    try:
        with TraceStore(path) as store:
            yield store
    except StoreError as exc:
        raise click.ClickException(str(exc)) from exc


def _check_file(path: Path) -> None:
    try:
        exists = path.exists()
    except OSError as exc:  # such as a name that is too long
        raise click.UsageError(f"--file cannot be read: {exc.strerror}.") from exc
    if not exists:
        raise click.UsageError(f"{path} does not exist; correct --file, or leave it out.")
