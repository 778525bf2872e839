"""A whole answer makes no events, and is the same answer as a streamed one."""

import pytest

from tests.ollama.answers import call, chunk, last, logprob, ndjson, new_reply

ANSWERS = {
    "text": [chunk("one "), chunk("two"), last()],
    "thinking": [chunk("", thinking="hm"), chunk("yes", logprobs=[logprob("yes")]), last()],
    "calls": [chunk("", calls=[call("a"), call("b", {"x": 1})]), last()],
    "empty": [last()],
    "cut": [chunk("half"), last(reason="length")],
}


def read(chunks, *, is_streamed):
    reply = new_reply(is_streamed=is_streamed)
    reply.feed(ndjson(*chunks))
    reply.end_of_body()
    reply.finish()
    return (reply.output, reply.usage), reply.take_events()


@pytest.mark.parametrize("chunks", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_without_events_is_the_same_answer(chunks):
    streamed, events = read(chunks, is_streamed=True)
    whole, none = read(chunks, is_streamed=False)

    assert whole == streamed
    assert events
    assert none == []
