"""What the models of the engines' tests answer, and what their tools leave behind."""

import json
from pathlib import Path

from tests.conftest import chat_stream
from timestep.testing import Reply

STEPS = 6


def works(steps):
    """Return the next step of a model that calls ``note`` once for each, one after another."""

    def answer(messages):
        done = sum(message["role"] == "tool" for message in messages)
        return done + 1 if done < steps else None

    return answer


def ollama_works(request, steps=STEPS):
    step = works(steps)(request.json["messages"])
    return Reply("all done") if step is None else Reply(tool_calls=[("note", {"step": step})])


def openai_works(body):
    step = works(STEPS)(body["messages"])
    delta = {"role": "assistant", "content": "all done"}
    if step is not None:
        function = {"name": "note", "arguments": json.dumps({"step": step})}
        call = {"index": 0, "id": f"call_{step}", "type": "function", "function": function}
        delta = {"role": "assistant", "tool_calls": [call]}
    head = {"id": "chatcmpl-1", "created": 1, "model": "m"}
    if body.get("stream"):
        head["object"] = "chat.completion.chunk"
        end = "stop" if step is None else "tool_calls"
        choices = [{"index": 0, "delta": delta}], [{"index": 0, "delta": {}, "finish_reason": end}]
        return 200, chat_stream([{**head, "choices": choice} for choice in choices]).encode()
    choice = {"index": 0, "message": delta, "finish_reason": "stop"}
    return 200, {**head, "object": "chat.completion", "choices": [choice]}


def notes():
    return [int(line) for line in Path("notes").read_text().split()]
