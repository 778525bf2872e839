"""Both wires agree which calls and results of a history are sent as text."""

import pytest
from agents import ModelSettings

from timestep.answer.call import ModelCall
from timestep.ollama.request.messages import build_conversation
from timestep.openai.request import chat_body


def call(call_id):
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def result(call_id):
    return {"type": "function_call_output", "call_id": call_id, "output": "done"}


HISTORIES = {
    "a pair": ([call("a"), result("a")], 1),
    "two pairs, each after the other": ([call("a"), call("b"), result("b"), result("a")], 2),
    "a call alone": ([call("a")], 0),
    "a result alone": ([result("a")], 0),
    "a result before its call": ([result("a"), call("a")], 0),
    "two results of one call": ([call("a"), result("a"), result("a")], 1),
    "two calls with one id and one result": ([call("a"), call("a"), result("a")], 1),
    "an id that is used again": ([call("a"), result("a"), call("a"), result("a")], 2),
}


@pytest.mark.parametrize(("items", "pairs"), HISTORIES.values(), ids=HISTORIES)
def test_each_wire_sends_whole_pairs_as_calls_and_the_rest_as_words(items, pairs):
    user = {"role": "user", "content": "go on"}
    native = build_conversation([*items, user], model="m").messages
    asked = ModelCall(None, [*items, user], ModelSettings())
    chat = chat_body(asked, model="m", base_url="http://h").body["messages"]
    for messages in (native, chat):
        calls = [c for message in messages for c in message.get("tool_calls") or ()]
        results = [message for message in messages if message["role"] == "tool"]
        assert (len(calls), len(results)) == (pairs, pairs)
