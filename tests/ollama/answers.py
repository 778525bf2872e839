"""Answers of a server, built or recorded, and what the decoder makes of them."""

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from openai.types.responses import Response

from timestep.answer.ids import Ids
from timestep.answer.reply import Reply
from timestep.answer.rules import Reading, Rules
from timestep.net.origin import Origin
from timestep.ollama.lines import ChatLines
from timestep.ollama.request.build import ChatRequest
from timestep.testing import Recording

ORIGIN = Origin("m", "http://localhost:11434")
WIRE = Path(__file__).parents[1] / "wire"


@cache
def recordings(path=None, *, status=None):
    """The recorded exchanges, of one *path* and one *status* when these are given."""
    return [
        recording
        for recording in Recording.load_all(WIRE)
        if path in {None, recording.request.path} and status in {None, recording.status}
    ]


def recorded(name):
    return Recording.load(WIRE / f"{name}.json")


def chunk(content="", *, done=False, thinking=None, calls=None, logprobs=None, **fields):
    """One line of an answer, as the server writes it."""
    message = {"role": "assistant", "content": content}
    if thinking is not None:
        message["thinking"] = thinking
    if calls is not None:
        message["tool_calls"] = calls
    head = {"model": "m", "created_at": "2026-11-20T15:29:48.189811715Z", "message": message}
    more = {} if logprobs is None else {"logprobs": logprobs}
    return {**head, "done": done, **more, **fields}


def last(content="", *, reason="stop", prompt=26, answer=7, **fields):
    """The last line of an answer."""
    counts = {"prompt_eval_count": prompt, "eval_count": answer}
    return chunk(content, done=True, done_reason=reason, **counts, **fields)


def call(name, arguments=None, call_id=None):
    """A tool call as the server writes it."""
    function = {"index": 0, "name": name, "arguments": {} if arguments is None else arguments}
    return {"function": function} if call_id is None else {"id": call_id, "function": function}


def logprob(token, value=-0.5, *, top=()):
    """The logprob of one token as the server writes it."""
    entry = {"token": token, "logprob": value, "bytes": list(token.encode())}
    return {**entry, "top_logprobs": list(top)} if top else entry


def ndjson(*chunks):
    """*chunks* as the bytes of a body; bytes among them stay as they are."""
    return b"".join(
        line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() + b"\n"
        for line in chunks
    )


def rules(reading=Reading.LIVE, *, tools=(), **fields):
    """The rules for an answer; *tools* by name or converted."""
    names = tuple(getattr(tool, "name", tool) for tool in tools)
    return Rules(reading=reading, tools=names, **fields)


def request(reading=Reading.LIVE, *, body=None, tools=(), **fields):
    """A request, for how its answer is to be read."""
    return ChatRequest(
        body=body or {"messages": []},
        headers={},
        rules=rules(reading, tools=tools, **fields),
        tools=tools,
    )


class Decoder:
    """A reply that is fed the bytes of an Ollama answer."""

    def __init__(self, reply):
        self.reply = reply
        self.lines = ChatLines(reply.origin)

    def __getattr__(self, name):
        return getattr(self.reply, name)

    def feed(self, data):
        self.reply.feed(self.lines.feed(data))

    def feed_parsed(self, *lines):
        self.reply.feed(self.lines.feed_parsed(lines))

    def end_of_body(self):
        self.reply.feed(self.lines.end_of_body())

    def restart(self, asked):
        self.reply.restart(asked.rules)
        self.lines = ChatLines(self.reply.origin)


def new_reply(asked=None, *, origin=ORIGIN, is_streamed=True):
    """A reply with ids that are the same in every run."""
    counter = itertools.count(1)
    ids = Ids(
        new=lambda prefix: (
            "resp_1"
            if prefix == "resp"
            else f"{'call_new' if prefix == 'call' else f'{prefix}_'}{next(counter)}"
        ),
    )
    read_by = (asked or request()).rules
    return Decoder(
        Reply(read_by, model="m", created_at=1.5, ids=ids, origin=origin, is_streamed=is_streamed)
    )


@dataclass
class Decoded:
    """A whole answer, decoded."""

    reply: Decoder
    events: list
    response: Response

    @property
    def output(self):
        return self.reply.output

    @property
    def types(self):
        return [event.type for event in self.events]

    @property
    def kinds(self):
        return [item.type for item in self.output]

    @property
    def text(self):
        items = [item for item in self.output if item.type == "message"]
        return "".join(part.text for item in items for part in item.content)

    @property
    def thinking(self):
        items = [item for item in self.output if item.type == "reasoning"]
        return "".join(part.text for item in items for part in item.content)

    @property
    def calls(self):
        items = [item for item in self.output if item.type == "function_call"]
        return [(item.name, json.loads(item.arguments)) for item in items]


def decode(pieces: bytes | Iterable[bytes], asked=None) -> Decoded:
    """The answer that *pieces* are, decoded and finished."""
    reply = new_reply(asked)
    events = []
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        reply.feed(piece)
        events += reply.take_events()
    reply.end_of_body()
    events += finished(reply)
    return Decoded(reply, events, events[-1].response)


def finished(reply):
    """The last events of *reply*, which is finished; the very last one has the response."""
    reply.finish()
    return reply.take_events()


def answer(*chunks, asked=None) -> Decoded:
    """The answer of *chunks*, decoded and finished."""
    return decode(ndjson(*chunks), asked)
