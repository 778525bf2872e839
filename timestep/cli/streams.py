"""The standard streams: opened when they are closed, and checked when the command ends."""

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout, suppress
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


class OutputLostError(Exception):
    """Output can no longer be written. The message is the system's reason."""


@contextmanager
def named_loss() -> Generator[None]:
    """Raise `OutputLostError` where the block's output is lost.

    click itself would exit without a message for a closed pipe.
    """
    try:
        yield
    except OSError as exc:
        if not is_output_lost(exc):
            raise
        raise OutputLostError(exc.strerror) from exc


@contextmanager
def checked_output() -> Generator[None]:
    """Write all that the block prints, also what Python still buffers when the block ends.

    Raises:
        SystemExit: With 1, when the output cannot be written; standard error says why.
    """
    try:
        try:
            with named_loss():
                yield
        except SystemExit:
            _flush()
            raise
        _flush()
    except OutputLostError as exc:
        with suppress(OutputLostError):
            _flush()
        with suppress(OSError):
            click.echo(f"Error: Standard output cannot be written: {exc}.", err=True)
        with suppress(OutputLostError):
            _flush()
        sys.exit(1)


def _flush() -> None:
    """Flush both output streams.

    The null device replaces a stream that fails: otherwise the interpreter would flush it again
    at its end, print a message of its own and exit with 120.

    Raises:
        OutputLostError: A stream failed.
    """
    lost: OSError | None = None
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as exc:
            lost = lost or exc
            with suppress(OSError), Path(os.devnull).open("w") as null:
                os.dup2(null.fileno(), stream.fileno())
    if lost is not None:
        raise OutputLostError(lost.strerror) from lost


@contextmanager
def foreign_code() -> Generator[None]:
    """Send what agents and tools print in the block to stderr: stdout is for the answer."""
    with redirect_stdout(sys.stderr):
        yield
