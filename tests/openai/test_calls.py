"""The pieces of calls, however a server cuts and names them, become the calls that were meant."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timestep.openai.calls import PendingCalls

texts = st.text('"\\{}[]a', max_size=6)
objects = st.dictionaries(texts, texts | st.lists(texts, max_size=2), min_size=1, max_size=3)


def added(*pieces):
    calls = PendingCalls()
    for piece in pieces:
        calls.add(piece)
    return [(call.call_id, call.name, call.arguments) for call in calls.take()]


def piece(name="f", arguments="", **more):
    return {"function": {"name": name, "arguments": arguments}, **more}


@given(st.lists(objects, min_size=1, max_size=3), st.integers(1, 4))
@example([{"a": '\\"}'}, {"a": [["{"]]}], 1)
def test_calls_without_an_id_or_an_index_end_where_their_json_ends(values, size):
    written = [json.dumps(value) for value in values]
    pieces = [
        piece(arguments=text[at : at + size])
        for text in written
        for at in range(0, len(text), size)
    ]

    assert added(*pieces) == [(None, "f", text) for text in written]


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        ([piece(index=0), piece(index=1)], [(None, "f", ""), (None, "f", "")]),
        ([piece(index=0, id="a"), piece(index=0, id="b")], [("a", "f", ""), ("b", "f", "")]),
        ([piece(index=1, id="a"), piece(id="a", arguments="{}")], [("a", "f", "{}")]),
        ([piece(id="a"), piece(id="b"), piece(None, "{}")], [("a", "f", ""), ("b", "f", "{}")]),
        ([piece(id=5), piece(5, "{}")], [(None, "f", ""), (None, None, "{}")]),
        ([{"function": {"name": "f", "parameters": '{"a": 1}'}}], [(None, "f", '{"a": 1}')]),
        ([piece(arguments={"a": 1}), piece()], [(None, "f", {"a": 1}), (None, "f", "")]),
    ],
)
def test_an_index_an_id_or_a_name_begins_a_call(pieces, calls):
    assert added(*pieces) == calls
