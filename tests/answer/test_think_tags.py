"""Thinking in tags at the head of a text, whatever the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.answer.held_text import ThinkTags


def separated(pieces):
    tags = ThinkTags()
    found = [*map(tags.feed, pieces), tags.rest()]
    return "".join(thinking for thinking, _ in found), "".join(text for _, text in found)


TEXTS = {
    "thinking": ("<think>Hm</think>Hi", ("Hm", "Hi")),
    "with lines between": ("\n<think>\nHm\n</think>\n\nHi <think>", ("\nHm\n", "Hi <think>")),
    "never closed": ("<think>Hm</thin", ("Hm</thin", "")),
    "thinking alone": ("<think>Hm</think> \n", ("Hm", "")),
    "empty": ("<think></think>Hi", ("", "Hi")),
    "no tag": ("Hi <think>Hm</think>", ("", "Hi <think>Hm</think>")),
    "half a tag": ("<thin", ("", "<thin")),
    "another tag": ("<thinker>", ("", "<thinker>")),
    "a tag in it": ("<think>a</b></think>c", ("a</b>", "c")),
    "blanks": (" ", ("", " ")),
    "nothing": ("", ("", "")),
}


@pytest.mark.parametrize(("text", "found"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_thinking_is_separated_from_text(text, found, size):
    assert separated([text[i : i + size] for i in range(0, len(text), size)]) == found


@given(st.lists(st.text("<think>/ab \n", max_size=6) | st.sampled_from(["<think>", "</think>"])))
def test_nothing_depends_on_the_pieces(pieces):
    assert separated(pieces) == separated(["".join(pieces)])
