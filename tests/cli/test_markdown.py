"""Markdown on a terminal: what is shown is right for every split, and can be copied."""

import io
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.cli.emulator import seen
from timestep.cli.markdown import MarkdownStream, split_complete

LINES = st.sampled_from(
    [
        "word word",
        "# head",
        "- item",
        "  - below",
        "1. one",
        "```python",
        "```",
        "> said",
        "| a | b |",
        "|---|---|",
        "---",
        "    code",
        "[x]: http://x.example",
        "<b>",
        "",
        "עברית 🧥",
        "one\u2028line",
    ]
)
TEXTS = st.lists(LINES, max_size=12).map("\n".join)


def shown(*pieces, columns=40):
    """What a terminal without cursor has at the end: the blocks that are printed for good."""
    stream = MarkdownStream(lambda: columns)
    file = io.StringIO()
    stream._console = Console(file=file, width=columns, highlight=False, markup=False, emoji=False)
    for piece in pieces:
        stream._draws_at = 0.0  # as if time had passed
        stream.feed(piece)
    stream.end()
    return file.getvalue()


@given(TEXTS, st.lists(st.integers(0, 80)))
def test_the_split_of_a_text_does_not_change_what_is_shown(text, cuts):
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})

    assert shown(*(text[start:end] for start, end in pairwise(edges))) == shown(text)


@given(TEXTS, st.lists(st.integers(0, 80)))
def test_what_is_drawn_over_leaves_no_trace(text, cuts):
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    stream = MarkdownStream(lambda: 40)
    file = io.StringIO()
    stream._console = Console(
        file=file,
        width=40,
        height=8,
        force_terminal=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for start, end in pairwise(edges):
        stream._draws_at = 0.0  # as if time had passed
        stream.feed(text[start:end])

    stream.end()

    # A terminal's driver puts the cursor back at the end of a line.
    assert seen(file.getvalue().replace("\n", "\r\n")) == shown(text)


@given(TEXTS, TEXTS)
def test_what_is_complete_stays_complete(text, more):
    complete, rest = split_complete(text)

    assert complete + rest == text
    assert split_complete(f"{text}\n{more}")[0].startswith(complete)


@given(TEXTS)
def test_no_line_ends_in_spaces_and_no_two_blank_lines_follow_outside_code(text):
    lines = shown(text.replace("```", "").replace("    code", "code")).split("\n")

    assert [line for line in lines if line != line.rstrip()] == []
    assert not any(one == two == "" for one, two in pairwise(lines[:-1]))


@given(st.text(alphabet="ab<>&;[]()!*_`#-+|~:\\/ \n", max_size=60))
def test_letters_are_never_lost(text):
    seen = Counter(shown(text))

    assert seen["a"] >= text.count("a")
    assert seen["b"] >= text.count("b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\ntext", "Title\n\ntext\n"),
        ("one\ntwo", "one\ntwo\n"),
        ("- a\n- b\n  - c", "- a\n- b\n  - c\n"),
        ("9. a\n10. b", " 9. a\n10. b\n"),
        ("see [here](http://x.example)", "see here (http://x.example)\n"),
        ("<http://x.example>", "http://x.example\n"),
        ("<a@x.example>", "a@x.example\n"),
        ("![a *b*](http://x.example/p.png)", "a *b* (http://x.example/p.png)\n"),
        ("<b>bold</b> &amp; more", "<b>bold</b> &amp; more\n"),
        ("<div>\n</div>", "<div>\n</div>\n"),
        ("[x]: http://x.example", "[x]: http://x.example\n"),
        ("[x][1]", "[x][1]\n"),
        ("```py\nx = 1\n```", "```py\nx = 1\n```\n"),
        ("~~~\nx\n~~~", "~~~\nx\n~~~\n"),
        ("    indented", "```\nindented\n```\n"),
        ("> said", "▌ said\n"),
        (":smile: [bold]x[/bold]", ":smile: [bold]x[/bold]\n"),
        ("a\x1b[2Jb", "a[2Jb\n"),
        ("שלום 🧥", "שלום 🧥\n"),
        ("", ""),
    ],
)
def test_a_text_is_shown_as(text, expected):
    assert shown(text) == expected


def test_lines_of_code_are_not_broken():
    line = "x = " + "1 + " * 30 + "1"

    assert line in shown(f"```python\n{line}\n```").splitlines()


def test_a_cell_that_is_too_wide_is_broken_and_not_cut():
    table = shown("| a | b |\n|---|---|\n| " + "x" * 60 + " | y |")

    assert table.count("x") == 60
    assert "…" not in table


def test_words_are_wrapped_at_the_width():
    assert shown("one two three four", columns=9) == "one two\nthree\nfour\n"


def test_two_texts_are_two_texts():
    stream = MarkdownStream(lambda: 40)
    file = stream._console.file = io.StringIO()
    for text in ("one", "two"):
        stream.feed(text)
        stream.end()

    assert file.getvalue() == "one\ntwo\n"


def test_a_window_that_became_narrower_keeps_every_word():
    """The terminal has wrapped what was drawn, so drawing over it would hit other lines."""
    width = 40
    stream = MarkdownStream(lambda: width)
    file = io.StringIO()
    stream._console = Console(file=file, width=width, height=8, force_terminal=True)
    stream.feed("one two three four five six seven eight nine ten")
    before = len(file.getvalue())
    width = 20
    stream._draws_at = 0.0  # as if time had passed
    stream.feed(" eleven twelve")
    stream.end()

    assert "\x1b[1A" not in file.getvalue()[before:]
    lines = seen(file.getvalue()[before:].replace("\n", "\r\n")).strip().splitlines()
    assert " ".join(lines) == "one two three four five six seven eight nine ten eleven twelve"
    assert max(map(len, lines)) <= 20
