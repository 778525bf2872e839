"""Regular expressions in the form that llama.cpp's grammar takes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.ollama.request.patterns import MAX_REPEATS, to_grammar
from timestep.testing.grammar import check_grammar

# What goes in, and what is sent.
WRITTEN = {
    "as it is": (r"^[A-Z]{3}-[0-9]+$", r"^[A-Z]{3}-[0-9]+$"),
    "nothing": (r"^$", r"^$"),
    "digits": (r"^\d{3}$", r"^[0-9]{3}$"),
    "word": (r"^\w+$", r"^[0-9A-Z_a-z]+$"),
    "space": (r"^a\sb$", r"^a[ ]b$"),
    "class in a class": (r"^[\d.-]*$", r"^[\x2D-.0-9]*$"),
    "group": (r"^(?:a|b)$", r"^(a|b)$"),
    "named group": (r"^(?P<x>a)(?<y>b)$", r"^(a)(b)$"),
    "other anchors": (r"\Aab\Z", r"^ab$"),
    "rust's anchor": (r"\Aab\z", r"^ab$"),
    "anchors in each branch": (r"^a$|^b$", r"^a|b$"),
    "lazy": (r"^a+?b{2,}?$", r"^a+b{2,}$"),
    "escaped": (r"^a\.b\/\-\$$", r"^a\.b/-\$$"),
    "escaped and repeated": (r"^a\.+$", r"^a[.]+$"),
    "not ASCII and repeated": (r"^né?$", r"^n[é]?$"),
    "code points": (r"^\x41\u00e9$", r"^A[é]$"),
    "not ASCII, before a bracket": (r"^(é)é[a]é(b)$", r"^([é])[é][a][é](b)$"),
    "not ASCII, before a bar": (r"^(?:😀|a)$", r"^([\U0001F600]|a)$"),
    "brackets in a class": (r"^[\[\]]$", r"^[\[\]]$"),
    "a hat in a class": (r"^[a^]$", r"^[\x5Ea]$"),
    "a quotation mark in a range": (r"^[ -~]$", r"^[ -!#-\[\]-~]$"),
}


@pytest.mark.parametrize(("pattern", "written"), WRITTEN.values(), ids=WRITTEN)
def test_a_pattern_is_written_in_the_grammars_form(pattern, written):
    assert to_grammar(pattern) == written
    check_grammar({"type": "string", "pattern": written})


UNSAYABLE = {
    "no anchors": "abc",
    "no first anchor": "abc$",
    "no last anchor": "^abc",
    "an escaped last anchor": r"^abc\$",
    "one branch without": "^a|b$",
    "looks ahead": "^(?=a)a$",
    "looks behind": "^(?<!a)a$",
    "flags": "(?i)^a$",
    "flags inside": "^(?i)a$",
    "refers back": r"^(a)\1$",
    "boundary": r"^\ba$",
    "property of Unicode": r"^\p{L}$",
    "possessive": "^a++$",
    "two quantifiers": "^a{2}{3}$",
    "a quantifier of nothing": "^*$",
    "a bare brace": "^{a}$",
    "an open class": "^[a$",
    "an open group": "^(a$",
    "a bracket too many": "^a)$",
    "a class in a class of Rust's": "^[[:alpha:]]$",
    "an operator of sets": "^[a-z&&[^b]]$",
    "a bracket first": "^[]a]$",
    "a backward range": "^[z-a]$",
    "a quotation mark": '^"$',
    "only a quotation mark": '^["]$',
    "a backslash": r"^\\$",
    "a line break": "^a\n$",
    "an escaped line break": r"^\n$",
    "half an escape": r"^\x4$",
    "an end in an escape": "^\\",
    "empty": "",
    "many": f"^a{{{MAX_REPEATS + 1}}}$",
    "many together": "^" + "a{500}" * 4 + "$",
    "a backspace": r"^[\b]$",
    "beyond the last character": r"^\U00110000$",
}


@pytest.mark.parametrize("pattern", UNSAYABLE.values(), ids=UNSAYABLE)
def test_a_pattern_that_the_grammar_cannot_say_is_left_out(pattern):
    assert to_grammar(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        (r"^\S+@\S+\.[a-z]{2,}$", "a.b@c.de", "a b@c.de"),
        (r"^[^/]+$", "a-b", "a/b"),
        (r"^.*$", "aé 'b", "a\nb"),
        (r"^\D\W$", "a-", "1-"),
        (r"^[^\w\s]$", "-", "_"),
    ],
)
def test_negated_classes_take_no_more_than_they_did_and_nothing_that_ends_the_text(
    pattern, right, wrong
):
    written = to_grammar(pattern)

    check_grammar({"type": "string", "pattern": written})
    assert re.fullmatch(written, right)
    assert not re.fullmatch(written, wrong)
    for unsafe in '"\\\n\x7f':
        assert not re.fullmatch(written, f"{right[:-1]}{unsafe}")


PIECES = st.sampled_from(
    ["a", "b", "é", ".", "-", "/", r"\d", r"\w", r"\S", r"\.", r"\-", r"\/", "[a-c]", "[^b]", r"[\d_]",
     "(", "(?:", ")", "|", "*", "+", "?", "{2}", "{1,3}", "{,2}", "[", "]", "{", "}", "^", "$", "\\", '"', "(?=", r"\b"]
)  # a table reads better in rows # fmt: skip


TEXTS = st.text("abc.-/é1_ $", max_size=4)


@given(
    st.lists(PIECES, max_size=6).map(lambda pieces: f"^{''.join(pieces)}$"),
    st.lists(TEXTS, min_size=1, max_size=20),
)
def test_what_is_written_is_taken_by_the_grammar_and_matches_no_more(pattern, texts):
    written = to_grammar(pattern)
    if written is None:
        return
    check_grammar({"type": "string", "pattern": written})
    for text in texts:
        assert not re.fullmatch(written, text) or re.search(pattern, text)
