"""The standard streams: opened when they are closed, and checked when the command ends."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from pathlib import Path

import click

_LOST = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, as after ``>&-``."""
    for name, mode in [("stdin", "r"), ("stdout", "w"), ("stderr", "w")]:
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open to the end


def is_output_lost(error: Exception) -> bool:
    """Return whether *error* means that output can no longer be written: a full disk, a closed pipe."""
    return isinstance(error, OSError) and error.errno in _LOST and error.filename is None


@contextmanager
def checked_output() -> Generator[None]:
    """Write everything that the block prints, including what Python still buffers at its end.

    Exits with 1 if it cannot be written, and says why, unless the reader of a pipe has left.
    """
    lost: OSError | None = None
    try:
        yield
    except OSError as exc:
        if not is_output_lost(exc):
            raise
        lost = exc
    except SystemExit:
        lost = _flush()
        if lost is None:
            raise
    lost = lost or _flush()
    if lost is None:
        return
    _flush()
    if lost.errno != errno.EPIPE:
        with suppress(OSError):
            click.echo(f"Error: Standard output cannot be written: {lost.strerror}.", err=True)
        _flush()
    sys.exit(1)


def _flush() -> OSError | None:
    """Flush both output streams. Return the first error.

    The null device replaces a stream that fails: otherwise the interpreter would flush it again
    at its end, print a message of its own and exit with 120.
    """
    first: OSError | None = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as exc:
            first = first or exc
            with suppress(OSError), Path(os.devnull).open("w") as null:
                os.dup2(null.fileno(), stream.fileno())
    return first


def foreign_code() -> AbstractContextManager[object]:
    """Send what agents and tools print in the block to stderr: stdout is for the answer."""
    return redirect_stdout(sys.stderr)


@contextmanager
def log_filter(is_kept: Callable[[logging.LogRecord], bool]) -> Generator[None]:
    """Log only those warnings of the block that *is_kept* returns True for."""
    logger = logging.getLogger("timestep")
    logger.addFilter(is_kept)
    try:
        yield
    finally:
        logger.removeFilter(is_kept)
