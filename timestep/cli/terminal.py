"""Writes text on a terminal: wrapped, dimmed, and without control characters."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

import click

from timestep.net.controls import CONTROLS

try:
    import termios
except ImportError:  # not on Windows
    termios = None  # type: ignore[assignment] # not on Windows

_MAX_WIDTH = 100
_MIN_TEXT = 24


def width() -> int:
    """Return the width of a line: that of the terminal, 80 without one, at most 100."""
    columns = 80
    with suppress(OSError):  # stdout may be a pipe while stderr is a terminal
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or columns  # 0: it does not say
    return min(shutil.get_terminal_size((columns, 24)).columns, _MAX_WIDTH)


def printable(text: str) -> str:
    """Return *text* without the control characters that a terminal acts on."""
    return CONTROLS.sub("", text)


def is_colourful() -> bool:
    """Return whether terminals should show colours."""
    # These are conventions of terminals, not our settings.
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_drawn_over(file: TextIO) -> bool:
    """Return whether *file* is a terminal that text can be drawn over, with or without colours."""
    return file.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def unheard() -> Generator[None]:
    """Do not echo what the user types during the block; the next prompt gets it."""
    if termios is None or not _is_in_front():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = before.copy()
    silent[3] &= ~termios.ECHO  # the local modes
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _is_in_front() -> bool:
    """Return whether the terminal is ours; touching it would stop a background job."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False


def write_answer(text: str, file: TextIO | None = None) -> None:
    """Write a piece of an answer to *file*, or stdout, at once; on a terminal only what is printable."""
    to = sys.stdout if file is None else file
    to.write(printable(text) if to.isatty() else text)
    to.flush()


def write_aside(text: str) -> None:
    """Write a piece of an aside to stderr, dimmed if possible."""
    click.echo(click.style(printable(text), dim=True), nl=False, err=True)


@dataclass
class Transcript:
    """Writes labelled text in two columns and wraps it while it arrives."""

    label_width: int  # the width of the left column, with the gap between the columns
    # Returns the width of both columns, which changes with the window.
    line_width: Callable[[], int]
    err: bool = False
    _label: str | None = None
    _dim: bool = False
    _column: int = 0
    _gap: str = ""
    _word: str = ""

    def write(self, label: str, text: str, *, dim: bool = False) -> None:
        """Add *text* under *label*. A new label starts a new line."""
        if label != self._label:
            self.end()
            self._label, self._dim, self._column = label, dim, self.label_width
            self._echo(click.style(f"{label:<{self.label_width}}", bold=True))
        for piece in re.findall(r"\n|[^\S\n]+|\S+", printable(text)):
            if not piece.isspace():
                self._word += piece
                continue
            self._end_word()
            if piece == "\n":
                self._break()
            else:
                self._gap = " "

    def line(self, label: str, text: str, *, dim: bool = False) -> None:
        """Write *text* under *label*, on a line of its own."""
        self.end()
        self.write(label, text, dim=dim)
        self.end()

    def end(self) -> None:
        """End the current line."""
        if self._label is not None:
            self._end_word()
            self._echo("\n")
        self._label, self._gap = None, ""

    def _end_word(self) -> None:
        if not self._word:
            return
        from rich.cells import cell_len

        limit = max(self.line_width(), self.label_width + _MIN_TEXT)
        is_first = self._column == self.label_width
        if not is_first and self._column + cell_len(self._gap + self._word) > limit:
            self._break()
        self._echo(click.style(self._gap + self._word, dim=self._dim))
        self._column += cell_len(self._gap + self._word)
        self._gap = self._word = ""

    def _break(self) -> None:
        self._echo(f"\n{'':{self.label_width}}")
        self._column, self._gap = self.label_width, ""

    def _echo(self, text: str) -> None:
        click.echo(text, nl=False, err=self.err)
