"""A whole answer is read without making the events nobody looks at, and is no other answer."""

from itertools import count

import pytest

from tests.ollama.answers import ORIGIN, call, chunk, last, logprob, ndjson, request
from timestep.answer.reply import Ids, Reply

ANSWERS = {
    "text": [chunk("one "), chunk("two"), last()],
    "thinking": [chunk("", thinking="hm"), chunk("yes", logprobs=[logprob("yes")]), last()],
    "calls": [chunk("", calls=[call("a"), call("b", {"x": 1})]), last()],
    "empty": [last()],
    "cut": [chunk("half"), last(reason="length")],
}


def read(chunks, *, is_streamed):
    numbers = count()
    ids = Ids(*(lambda kind=kind: f"{kind}_{next(numbers)}" for kind in ("r", "msg", "fc", "call")))
    reply = Reply(
        request(), model="m", created_at=1.0, ids=ids, origin=ORIGIN, is_streamed=is_streamed
    )
    reply.feed(ndjson(*chunks))
    reply.end_of_body()
    return reply.finish(), reply.take_events()


@pytest.mark.parametrize("chunks", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_without_events_is_the_same_response(chunks):
    streamed, events = read(chunks, is_streamed=True)
    whole, none = read(chunks, is_streamed=False)

    assert whole == streamed
    assert events
    assert none == []
