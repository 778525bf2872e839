import io
import sys
import threading

import pytest

from tests.cli.emulator import seen
from timestep.cli.agent.run import Text
from timestep.cli.agent.screen import Screen
from timestep.cli.spinner import Spinner

_PATIENCE = 60.0


class Terminal(io.StringIO):
    def __init__(self):
        super().__init__()
        self.has_spinner = threading.Event()

    def isatty(self):
        return True

    def write(self, text):
        if "waiting for" in text:
            self.has_spinner.set()
        return super().write(text)


@pytest.fixture
def terminal(monkeypatch):
    """Make a terminal of stderr, in the test itself: pytest sets it again before."""

    def make(kind="xterm"):
        terminal = Terminal()
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return make


def test_what_is_printed_meanwhile_gets_a_line_of_its_own(terminal):
    stderr = terminal()
    spinner = Spinner()
    with spinner.at_work():
        spinner.wait_for("a tool")
        assert stderr.has_spinner.wait(_PATIENCE)
        sys.stderr.write("hello\n")

    assert seen(stderr.getvalue()) == "hello\n"
    assert sys.stderr is stderr


def test_a_terminal_that_cannot_be_drawn_over_gets_no_spinner(terminal):
    stderr = terminal("dumb")

    with Spinner().at_work():
        assert sys.stderr is stderr


def test_an_answer_ends_its_line_before_a_tool_prints(terminal, monkeypatch):
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    terminal("dumb")
    screen = Screen()
    stderr = terminal()
    spinner = Spinner(screen.interrupt)
    screen.show(Text("Hi"))
    with spinner.at_work():
        sys.stderr.write("hello\n")

    assert (stdout.getvalue(), stderr.getvalue()) == ("Hi\n", "hello\n")
