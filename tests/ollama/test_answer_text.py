import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timestep.answer.held_text import AnswerText


def read(pieces):
    answer = AnswerText()
    return "".join(answer.feed(piece) for piece in pieces), answer.rest()


def split(text, cuts):
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def whole(text):
    """*text* with half surrogate pairs as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


HALVES = st.text(st.sampled_from('\ud83d\ude00\ud800\udfffa😀\\"\n/u0'))
CUTS = st.lists(st.integers(0, 1_000))


@given(st.text() | HALVES, CUTS, st.booleans(), st.sampled_from(["", " ", "\n"]))
@example("\ud83d\ud83d\ude00", [22, 26], True, "")
@example("\ud83d\ud83d\ude00", list(range(40)), True, "")
def test_any_split_of_any_answer_is_the_answer(text, cuts, is_ascii, space):
    written = json.dumps(text, ensure_ascii=is_ascii or text != whole(text))
    answer = f'{space}{{{space}"answer"{space}:{space}{written}{space}}}'

    assert read(split(answer, cuts)) == (whole(text), "")
    assert read(answer) == (whole(text), "")


@given(st.text(alphabet='\\u"dD8aAcCeEfF0z', max_size=20), CUTS)
def test_a_broken_string_reads_alike_however_it_is_split(text, cuts):
    answer = f'{{"answer": "{text}"}}'

    assert read(split(answer, cuts)) == read([answer])


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (r"\u00e9\u0041", "éA"),
        (r"\ud83d\ude00", "😀"),
        (r"\uD83D\uDE00", "😀"),
        (r"\ud83d", "\ufffd"),
        (r"\ud83dx", "\ufffdx"),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\x", "x"),
        (r"\u12", "u12"),
        (r"\uzzzz", "uzzzz"),
        (r"\ud83d\uzz", "\ufffduzz"),
        (r"\ud83d\ude0", "\ufffdude0"),
        ("\x00\n", "\x00\n"),
    ],
)
def test_escapes_are_read_as_json_reads_them(written, text):
    assert read([f'{{"answer":"{written}"}}']) == (text, "")
    assert read(f'{{"answer":"{written}"}}') == (text, "")


def test_an_answer_is_shown_as_far_as_it_is_certain():
    answer = AnswerText()

    assert answer.feed('{"ans') == ""
    assert answer.rest() == '{"ans'
    assert answer.feed('wer": "Hel') == "Hel"
    assert answer.feed("lo \\") == "lo "
    assert answer.feed("u00") == ""
    assert answer.feed("e9\\ud83d") == "é"
    assert answer.feed("\\") == ""
    assert answer.feed('nx"') == "\ufffd\nx"
    assert answer.feed('} and "more"') == ""
    assert answer.rest() == ""


@pytest.mark.parametrize(
    "opening", ['{"answer":"', '```json\n{"answer": "', ' ```\n{\n"answer":\n"']
)
def test_an_answer_may_stand_in_a_fence(opening):
    assert read(opening + 'yes"}\n```') == ("yes", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.",
        '{"name": "f", "arguments": {"answer": "no"}}',
        '{"answer": 5}',
        '{"answer": {"a": "b"}}',
        '{"Answer": "x"}',
        '[{"answer": "x"}]',
        'Sure: {"answer": "x"}',
        "{",
    ],
)
def test_what_is_no_answer_is_kept_whole(text):
    assert read([text]) == ("", text)
    assert read(text) == ("", text)


def test_a_long_answer_is_read_in_one_piece():
    text = 'long "text" 😀\\' * 20_000

    assert read([json.dumps({"answer": text})]) == (text, "")


def test_an_answer_that_begins_late_is_none_however_it_is_split():
    text = " " * 190 + '{"answer": "late"}'

    assert read([text]) == read(text) == ("", text)


def test_long_answers_and_calls_take_no_time_in_small_pieces():
    # What takes quadratic time here would take minutes.
    pieces = ["\\n", "x"] * 100_000

    assert len(read(['{"answer": "', *pieces, '"', *pieces])[0]) == 200_000
    assert len(read(['{"name": "', *pieces])[1]) == 300_010
