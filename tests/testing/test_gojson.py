"""JSON comes out as the recorded server wrote it, byte for byte."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.testing import Recording, gojson

RECORDINGS = Recording.load_all(Path(__file__).parents[1] / "wire")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_a_recorded_body_is_written_as_the_server_wrote_it(recording):
    for line in recording.body.split(b"\n"):
        if line.startswith(b"{"):
            assert gojson.dumps(json.loads(line)) == line


@given(JSON)
def test_what_is_written_reads_back_equal(value):
    # Go writes 1.0 as 1, so every number is compared as a float.
    expected = json.loads(json.dumps(value), parse_int=float)
    assert json.loads(gojson.dumps(value), parse_int=float) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (21.0, "21"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-10, "1.5e-10"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        ("<a> & b", r'"\u003ca\u003e \u0026 b"'),
        ("\u2028\x85\n\x01\x7f", '"\\u2028\x85\\n\\u0001\x7f"'),
        ("\ud800", r'"\ufffd"'),
        ((1, [True, None]), "[1,[true,null]]"),
    ],
)
def test_numbers_and_text_look_like_gos(value, text):
    assert gojson.dumps(value).decode() == text


@pytest.mark.parametrize("value", [object(), {"a": {1}}, b"bytes"])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError, match="is not a JSON value"):
        gojson.dumps(value)


def test_infinity_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        gojson.dumps(float("inf"))
