"""Faults as functions on pieces; tests/testing/test_server.py shows them on the wire."""

from itertools import count, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.testing import Close, ErrorLine, NoDone, Reset, Split, Stall
from timestep.testing.faults import Cut

PIECES = [b"one\n", b"two\n", b"done\n"]


def sent(*faults, pieces=PIECES):
    for fault in faults:
        pieces = fault.apply(pieces)
    return list(pieces)


@pytest.mark.parametrize(
    ("fault", "pieces"),
    [
        (Reset(), [Cut.RESET]),
        (Reset(after=2), [b"one\n", b"two\n", Cut.RESET]),
        (Reset(after=9), [*PIECES, Cut.RESET]),
        (Reset(after_bytes=6), [b"one\n", b"tw", Cut.RESET]),
        (Reset(after_bytes=4), [b"one\n", Cut.RESET]),
        (Reset(after_bytes=0), [Cut.RESET]),
        (Reset(after_bytes=99), [*PIECES, Cut.RESET]),
        (Close(after=1), [b"one\n", Cut.CLOSE]),
        (Close(after_bytes=5), [b"one\n", b"t", Cut.CLOSE]),
        (ErrorLine("boom"), [b"one\n", b'{"error":"boom"}\n']),
        (ErrorLine("boom", after=2), [b"one\n", b"two\n", b'{"error":"boom"}\n']),
        (NoDone(), [b"one\n", b"two\n"]),
        (Split(every=6), [b"one\ntw", b"o\ndone", b"\n"]),
        (Split(at=[2, 2, 9]), [b"on", b"e\ntwo\nd", b"one\n"]),
        (Split(at=[]), [b"one\ntwo\ndone\n"]),
        (Split(at=[0, 99]), [b"one\ntwo\ndone\n"]),
    ],
)
def test_a_fault_changes_what_is_sent(fault, pieces):
    assert sent(fault) == pieces


def test_a_stall_stands_between_the_pieces():
    stall = Stall(after=1)

    assert sent(stall) == [b"one\n", stall, b"two\n", b"done\n"]


def test_faults_follow_each_other():
    stall = Stall(after=1)

    assert sent(stall, Split(every=3)) == [
        b"one", b"\n", stall, b"tw", b"o\nd", b"one", b"\n"
    ]  # a table reads better in rows # fmt: skip
    assert sent(stall, Reset(after_bytes=5)) == [b"one\n", stall, b"t", Cut.RESET]
    assert sent(stall, NoDone()) == [b"one\n", stall, b"two\n"]


@given(st.lists(st.binary()), st.lists(st.integers(0, 50)), st.integers(1, 9))
def test_splitting_keeps_every_byte_and_sends_nothing_empty(pieces, cuts, size):
    for split in (Split(at=sorted(cuts)), Split(every=size)):
        parts = sent(split, pieces=pieces)
        assert b"".join(parts) == b"".join(pieces)
        assert all(parts)


def test_endless_pieces_stay_lazy():
    endless = (b"%d\n" % number for number in count())

    assert list(islice(Split(every=1).apply(NoDone().apply(endless)), 4)) == [
        b"0", b"\n", b"1", b"\n"
    ]  # a table reads better in rows # fmt: skip


def test_a_stall_that_is_not_reached_times_out():
    with pytest.raises(TimeoutError, match="no answer reached the stall"):
        Stall().wait_until_reached(timeout=0.01)
