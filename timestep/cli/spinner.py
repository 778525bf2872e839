"""Shows on a terminal that the command waits, for what, and for how long.

A thread draws, because a tool may hold up the event loop. Whatever else is written to standard
error meanwhile erases the line first.
"""

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stderr
from typing import Any, TextIO, cast

import click

from timestep.cli.terminal import is_colourful, is_drawn_over, printable, width

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS_A_FRAME = 0.1
_PATIENCE = 0.5
"""The seconds of a wait that shows nothing: most waits are shorter."""
_ERASE = "\r\x1b[K"


class Spinner:
    """One line on standard error, if a terminal. *interrupt* is called before other text."""

    def __init__(self, interrupt: Callable[[], None] | None = None) -> None:
        self._interrupt = interrupt
        self._file = sys.stderr
        self._is_possible = is_drawn_over(sys.stderr)
        self._lock = threading.RLock()
        self._what = ""
        self._since = 0.0
        self._is_shown = False

    def wait_for(self, what: str) -> None:
        """Show that the command waits for *what*."""
        with self._lock:
            if what != self._what:
                self._what, self._since = what, time.monotonic()

    def stop(self) -> None:
        """Erase the line. It stays away until the next wait."""
        with self._lock:
            self._what = ""
            self.erase()

    def make_way(self, text: str) -> None:
        """Make way for *text*. The line comes back soon if that ends a line."""
        if self._interrupt is not None:
            self._interrupt()
        if not text.endswith("\n"):
            self._what = ""
        self.erase()

    def erase(self) -> None:
        """Erase the line. It comes back."""
        with self._lock:
            if self._is_shown:
                self._file.write(_ERASE)
                self._file.flush()
            self._is_shown = False

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Draw during the block, and give everything else that it writes a line of its own."""
        if not self._is_possible:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._draw_until, args=(ended,), daemon=True)
        thread.start()
        guarded = cast("TextIO", _Guarded(self._file, self))
        try:
            with redirect_stderr(guarded):
                yield
        finally:
            ended.set()
            thread.join()
            self.stop()

    def _draw_until(self, ended: threading.Event) -> None:
        frame = 0
        while not ended.wait(_SECONDS_A_FRAME):
            frame = (frame + 1) % len(_FRAMES)
            with self._lock:
                seconds = time.monotonic() - self._since
                if not self._what or seconds < _PATIENCE:
                    continue
                line = f"{_FRAMES[frame]} waiting for {self._what}, {seconds:.0f} s"
                line = printable(line)[: width() - 1]
                shown = click.style(line, dim=True) if is_colourful() else line
                self._file.write(_ERASE + shown)
                self._file.flush()
                self._is_shown = True


class _Guarded:
    """Writes to *file*, where the line of *spinner* may be."""

    def __init__(self, file: TextIO, spinner: Spinner) -> None:
        self._file = file
        self._spinner = spinner

    def write(self, text: str) -> int:
        """Write *text*. The spinner comes back only if that ends a line."""
        if not text:
            return self._file.write(text)
        self._spinner.make_way(text)
        return self._file.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
