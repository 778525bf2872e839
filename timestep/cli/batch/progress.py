"""The progress bar of a batch."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from timestep.cli.batch.summary import Summary


@contextmanager
def progress_bar(summary: Summary) -> Generator[Callable[[], None]]:
    """Yield what to call after each line. On a terminal it moves a bar; elsewhere it does nothing."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        left = summary.lines - summary.done_before
        task = bar.add_task("", total=left, rate="")

        def advance() -> None:
            bar.update(task, advance=1, rate=summary.progress())

        yield advance
