"""Words on a terminal: wrapped, dimmed, and without what would steer it."""

import os
import re
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

import click

try:
    import termios
except ImportError:  # Windows has none
    termios = None  # type: ignore[assignment] # Windows has none

_MAX_WIDTH = 100
_MIN_TEXT = 24
# Everything but line break and tab that a terminal acts on instead of showing it, and what turns
# the direction of the text round it.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def width() -> int:
    """How many columns a line may have: the terminal's, 80 without one, 100 at most."""
    columns = 80
    with suppress(OSError):  # a pipe has no width, but what is beside the answer may have one
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    return min(shutil.get_terminal_size((columns, 24)).columns, _MAX_WIDTH)


def printable(text: str) -> str:
    """*text* without the control characters that could steer a terminal."""
    return _CONTROLS.sub("", text)


def is_styled() -> bool:
    """True when stdout is a terminal that takes colours and may be drawn over."""
    context = click.get_current_context(silent=True)
    return sys.stdout.isatty() and (context is None or context.color is not False)


@contextmanager
def unheard() -> Generator[None]:
    """What is typed in the block is not echoed into what is drawn; the next prompt gets it."""
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
    """True when the terminal is ours: a job in the background would be stopped for touching it."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False


def write_answer(text: str, file: TextIO | None = None) -> None:
    """Put a piece of an answer on *file*, or stdout, at once; as it is, unless a terminal shows it."""
    to = sys.stdout if file is None else file
    to.write(printable(text) if to.isatty() else text)
    to.flush()


def write_aside(text: str) -> None:
    """Put a piece of what is not the answer on stderr, dimmed where that can be."""
    click.echo(click.style(printable(text), dim=True), nl=False, err=True)


@dataclass
class Transcript:
    """Who says what, in two columns, wrapped while it arrives.

    Attributes:
        label_width: Of the left column, with the space between the columns.
        line_width: Of both columns.
        err: Whether it is written to stderr.
    """

    label_width: int
    line_width: int
    err: bool = False
    _label: str | None = None
    _dim: bool = False
    _column: int = 0
    _gap: str = ""
    _word: str = ""

    def write(self, label: str, text: str, *, dim: bool = False) -> None:
        """Add *text* to what *label* says; another label than before begins a new line."""
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
        """Let *label* say *text*, and no more."""
        self.end()
        self.write(label, text, dim=dim)
        self.end()

    def end(self) -> None:
        """End what is being said."""
        if self._label is not None:
            self._end_word()
            self._echo("\n")
        self._label, self._gap = None, ""

    def _end_word(self) -> None:
        if not self._word:
            return
        from rich.cells import cell_len

        limit = max(self.line_width, self.label_width + _MIN_TEXT)
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
