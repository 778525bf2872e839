import io
import json
import os
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.cli.terminal import Transcript, printable, width, write_answer
from timestep.net.origin import Origin
from timestep.traces.text import json_text


def written(capsys, *pieces, line_width=40):
    transcript = Transcript(label_width=8, line_width=lambda: line_width)
    for label, text in pieces:
        transcript.write(label, text)
    transcript.end()
    return capsys.readouterr().out


def test_a_new_label_begins_a_new_line(capsys):
    assert written(capsys, ("user", "Hi"), ("answer", "Hello "), ("answer", "you")) == (
        "user    Hi\nanswer  Hello you\n"
    )


def test_text_is_wrapped_under_itself(capsys):
    assert written(capsys, ("answer", "one two three four five six seven eight")) == (
        "answer  one two three four five six\n        seven eight\n"
    )


def test_a_line_break_in_the_text_is_kept(capsys):
    assert written(capsys, ("answer", "one\ntwo")) == "answer  one\n        two\n"


def test_a_word_wider_than_the_line_is_kept_whole(capsys):
    assert written(capsys, ("a", "x" * 50)) == f"a       {'x' * 50}\n"


def test_a_terminal_too_narrow_for_columns_still_gets_readable_lines(capsys):
    lines = written(capsys, ("answer", "one two three four five six"), line_width=10).splitlines()

    assert lines == ["answer  one two three four five", "        six"]


def test_the_lines_follow_the_window(capsys):
    columns = 40
    transcript = Transcript(label_width=8, line_width=lambda: columns)
    transcript.write("answer", "one two three four five six ")
    columns = 33
    transcript.write("answer", "seven eight nine ten eleven")
    transcript.end()

    assert capsys.readouterr().out == (
        "answer  one two three four five six\n        seven eight nine ten\n        eleven\n"
    )


def test_ending_twice_prints_nothing_more(capsys):
    transcript = Transcript(label_width=8, line_width=lambda: 40)
    transcript.line("a", "b")
    transcript.end()

    assert capsys.readouterr().out == "a       b\n"


@given(st.text(alphabet="ab \n", max_size=80), st.lists(st.integers(0, 80)))
def test_the_split_of_a_text_does_not_change_what_is_shown(text, cuts):
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(edges)]

    assert shown(pieces or [""]) == shown([text])


@given(st.text(max_size=80), st.integers(1, 60))
def test_no_word_is_lost(text, line_width):
    assert shown([text], line_width).split() == ["label", *printable(text).split()]


def shown(pieces, line_width=20):
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        transcript = Transcript(label_width=8, line_width=lambda: line_width)
        for piece in pieces:
            transcript.write("label", piece)
        transcript.end()
        return sys.stdout.getvalue()
    finally:
        sys.stdout = stdout


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_not_steered_by_what_a_model_writes(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    write_answer("a\x1b[2Jb\x07\tc\r\n\x9b31md\u202e\u2066\n")

    assert sys.stdout.getvalue() == "a[2Jb\tc\n31md\n"


@pytest.mark.parametrize(
    "control",
    "\0\b\v\r\x1b\x7f\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069",
    ids=ascii,
)
def test_what_a_terminal_acts_on_is_shown_nowhere(control):
    text = f"a{control}b"

    assert printable(text) == "ab"
    assert Origin(None, "h").clean(text) == "a\ufffdb"
    assert control not in json_text(text)
    assert json.loads(json_text(text)) == text


def test_a_pipe_gets_the_answer_as_it_is(capsys):
    write_answer("a\x1b[31m\r\n")

    assert capsys.readouterr().out == "a\x1b[31m\r\n"


@pytest.mark.parametrize(("columns", "expected"), [("60", 60), ("300", 100), ("", 80)])
def test_the_width_is_the_terminal_s_within_reason(monkeypatch, columns, expected):
    monkeypatch.setenv("COLUMNS", columns)

    assert width() == expected


def test_a_terminal_that_does_not_say_its_size_has_eighty_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((0, 0)))

    assert width() == 80
