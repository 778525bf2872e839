import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.openai.sse import EventSplitter


def read(*pieces):
    splitter = EventSplitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.flush()


def data(*texts):
    return [("", text) for text in texts]


CASES = {
    "one event": (b"data: a\n\n", data(b"a")),
    "no space after the colon": (b"data:a\n\n", data(b"a")),
    "only one space is taken off": (b"data:  a\n\n", data(b" a")),
    "two data lines are joined": (b"data: a\ndata: b\n\n", data(b"a\nb")),
    "a data field without a colon is an empty line": (b"data\ndata: b\n\n", data(b"\nb")),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", data(b"a")),
    "a second byte order mark belongs to a field name": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
        data(b"b"),
    ),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", data(b"a", b"b")),
    "CR": (b"data: a\r\rdata: b\r\r", data(b"a", b"b")),
    "mixed line ends": (b"data: a\r\n\ndata: b\n\r\n", data(b"a", b"b")),
    "comments": (b": ping - now\n\n:\ndata: a\n: OPENROUTER PROCESSING\n\n", data(b"a")),
    "unknown fields": (b"id: 1\nretry: 5\nfoo: bar\nbaz\n\ndata: a\n\n", data(b"a")),
    "an event name": (b"event: error\ndata: {}\n\n", [("error", b"{}")]),
    "a ping": (b"event: ping\ndata: {}\n\ndata: a\n\n", data(b"a")),
    "a name without data does not reach the next event": (
        b"event: ping\n\ndata: a\n\n",
        data(b"a"),
    ),
    "a line of one space": (b" \n\ndata: a\n\n", data(b"a")),
    "NUL bytes": (b"\x00\n\n\x00\x00\n\ndata: a\n\n", data(b"a")),
    "blank lines": (b"\n\n\ndata: a\n\n\n\n", data(b"a")),
    "no blank line at the end": (b"data: a\n\ndata: [DONE]", data(b"a", b"[DONE]")),
    "separators of other alphabets end no line": (
        "data: a\x85b\u2028c\u2029d\x1ee\n\n".encode(),
        data("a\x85b\u2028c\u2029d\x1ee".encode()),
    ),
    "nothing": (b"", []),
    "half a byte order mark": (b"\xef\xbb", []),
    "an empty data field is an event": (b"data:\n\n", data(b"")),
}


@pytest.mark.parametrize(("body", "events"), CASES.values(), ids=CASES)
def test_a_body_is_read_as_the_standard_says(body, events):
    assert read(body) == events


@pytest.mark.parametrize(("body", "events"), CASES.values(), ids=CASES)
def test_a_body_in_single_bytes_gives_the_same_events(body, events):
    assert read(*(body[at : at + 1] for at in range(len(body)))) == events


@given(
    lines=st.lists(
        st.sampled_from([b"data: x", b"event: e", b": c", b"", b"\r", b"data", b"\xef"])
    ),
    ends=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 200)),
)
def test_every_split_of_the_bytes_gives_the_same_events(lines, ends, cuts):
    body = ends.join(lines)
    at = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    assert read(*(body[a:b] for a, b in itertools.pairwise(at))) == read(body)


MIB = 1 << 20
DOCUMENTS = {
    "an object": b'{"a": 1}\n\ndata: b\n\n',
    "a list": b"[1]",
    "a page": b"<html>\n\n</html>",
    "behind a byte order mark": b"\xef\xbb\xbf{}",
    "behind white space": b" \r\n\n{}",
}


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("body", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_is_kept_to_its_end_and_holds_no_events(body, size):
    splitter = EventSplitter()

    events = [splitter.feed(body[at : at + size]) for at in range(0, len(body), size)]

    assert not any(events)
    assert splitter.flush() == []
    assert bytes(splitter.document) == body.removeprefix(b"\xef\xbb\xbf").lstrip()


@pytest.mark.parametrize("body", [b"data: a\n\n{}", b": {\n\n"])
def test_events_are_no_document(body):
    splitter = EventSplitter()
    splitter.feed(body)

    assert splitter.document is None


@pytest.mark.parametrize(
    ("body", "what"), [(b"{" + b" " * MIB, "a document"), (b"data: " + b"a" * MIB, "an event")]
)
def test_what_is_too_long_is_told_in_mebibytes(body, what):
    splitter = EventSplitter(longest=MIB)
    splitter.feed(body)

    assert splitter.excess == f"{what} of more than 1 MiB"
