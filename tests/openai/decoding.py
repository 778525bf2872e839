"""Answers on the chat-completions wire, and what the decoder makes of them."""

import itertools
import json

from tests.ollama.answers import rules
from timestep.answer.ids import ANY_CALL_ID, Ids
from timestep.answer.reply import Reply
from timestep.net.origin import Origin
from timestep.openai.stream import ChatReader

ORIGIN = Origin("m", "http://localhost:11434", url="http://localhost:11434/v1/chat/completions")


class ChatDecoder:
    """A reply that is fed the bytes of a chat completion."""

    def __init__(self, asked=None):
        counter = itertools.count(1)
        ids = Ids(
            new=lambda prefix: (
                "resp_1"
                if prefix == "resp"
                else f"{'call_new' if prefix == 'call' else f'{prefix}_'}{next(counter)}"
            ),
            form=ANY_CALL_ID,
        )
        self.reply = Reply(asked or rules(), model="m", created_at=1.5, ids=ids, origin=ORIGIN)
        self.reader = ChatReader(ORIGIN)

    def __getattr__(self, name):
        return getattr(self.reply, name)

    def feed(self, data):
        self.reply.feed(self.reader.feed(data))

    def end_of_body(self):
        self.reply.feed(self.reader.end_of_body())


def decode(pieces, asked=None):
    """The events and the response of the answer that *pieces* are."""
    decoder = ChatDecoder(asked)
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        decoder.feed(piece)
    decoder.end_of_body()
    decoder.finish()
    events = decoder.take_events()
    return events, events[-1].response


def as_chat(lines):
    """*lines* of an Ollama answer as the events of a chat completion that says the same."""
    index = itertools.count()
    return [_event(line, index) for line in lines]


def _event(line, index):
    if "error" in line:
        return {"error": {"message": line["error"], "type": "server_error"}}
    message = line["message"]
    delta = {"role": "assistant"}
    if message.get("thinking"):
        delta["reasoning_content"] = message["thinking"]
    if message.get("content"):
        delta["content"] = message["content"]
    if calls := [_call(next(index), call) for call in message.get("tool_calls") or ()]:
        delta["tool_calls"] = calls
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    if "logprobs" in line:
        choice["logprobs"] = {"content": line["logprobs"]}
    event = {"choices": [choice]}
    if line.get("done"):
        choice["finish_reason"] = line.get("done_reason")
        event["usage"] = _usage(line)
    return event


def _call(index, call):
    function = call["function"]
    known = {"id": call["id"]} if "id" in call else {}
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {
        "index": index,
        **known,
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def _usage(line):
    prompt, answered = line.get("prompt_eval_count", 0), line.get("eval_count", 0)
    cached = line.get("prompt_eval_cached_count", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answered,
        "total_tokens": prompt + answered,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def sse(events, *, done=True):
    """*events* as the bytes of a stream."""
    body = b"".join(
        b"data: " + json.dumps(event, ensure_ascii=False).encode(errors="replace") + b"\n\n"
        for event in events
    )
    return body + (b"data: [DONE]\n\n" if done else b"")
