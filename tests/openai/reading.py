"""What a reader makes of a body, in values that compare."""

import json
from pathlib import Path

from timestep.answer.chunks import BrokenEnd, Call, End, Refusal, Text, Thinking, TokenLogprobs
from timestep.net.origin import Origin
from timestep.openai.stream import ChatReader

WIRE = Path(__file__).parents[1] / "wire-openai"
URL = "http://h/v1/chat/completions"


def recording(name):
    return json.loads((WIRE / f"{name}.json").read_text())


def read(*pieces, is_complete=True):
    """The chunks of a body in *pieces*, with text and thinking joined."""
    reader = ChatReader(Origin("m", "http://h", ("s3cret-key",), url=URL))
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
    return joined([*chunks, *(reader.end_of_body() if is_complete else [])])


def joined(chunks):
    found = []
    for chunk in chunks:
        match chunk:
            case Text(text) | Thinking(text) | Refusal(text):
                kind = type(chunk).__name__.lower()
                if found and found[-1][0] == kind:
                    found[-1][1] += text
                elif text:
                    found.append([kind, text])
            case Call():
                found.append(["call", chunk.name, chunk.arguments, chunk.call_id])
            case End():
                usage = chunk.usage
                counts = [usage.input_tokens, usage.output_tokens, usage.cached_tokens]
                found.append(["end", chunk.reason, counts])
            case BrokenEnd():
                found.append(["failure", type(chunk.error).__name__])
            case TokenLogprobs():
                found.append(["logprobs", len(chunk.entries)])
    return found
