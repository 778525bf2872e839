"""One answer as a sequence of chunks, from a wire's reader to the decoder.

An answer is any number of `Text`, `Thinking`, `Refusal`, `TokenLogprobs` and `Call` chunks, then one
`End` or one `BrokenEnd`. What follows these is ignored. Each token brings a chunk, so chunks are plain
objects with slots, which are cheap to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from timestep.net.json_parts import WrongShape

_TOO_LARGE = 2**63
"""The first count that is too large. A server may send hundreds of digits, which no database holds."""

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""The finish reasons of an answer that was cut, with the Responses API's names for them."""

SPELLINGS = ("arguments", "parameters")
"""The keys of a call's arguments. Llama's own template asks for the second."""

Logprobs: TypeAlias = list[Mapping[str, Any]]
"""Tokens with their logprobs, each in the shape of openai's ``Logprob``."""


@dataclass(slots=True)
class Text:
    """More of the text. An empty one says that the answer has begun."""

    text: str


@dataclass(slots=True)
class Thinking:
    """More of the thinking."""

    text: str
    field: str = ""  # to send it back in, in the SDK's words; empty for the usual one


@dataclass(slots=True)
class Refusal:
    """More of the model's refusal to answer."""

    text: str


@dataclass(slots=True)
class TokenLogprobs:
    """Logprobs of the next text, thinking or call."""

    entries: Logprobs


@dataclass(slots=True)
class Call:
    """One whole tool call, unchecked, as the server sent it."""

    name: object  # should be text
    arguments: object = None  # JSON text, or the value itself
    call_id: object = None  # any value that is not a valid, unused call id is replaced
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])  # wanted back with the call


@dataclass(slots=True)
class Usage:
    """The cost of one answer, or of several."""

    requests: int = 0  # how many answers are counted
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None  # in US dollars, if the server says it
    # The provider's own figures by their own names, such as durations.
    figures: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def total_tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    def add(self, other: "Usage") -> None:
        """Add the counts of *other*."""
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.reasoning_tokens += other.reasoning_tokens
        if other.cost is not None:
            self.cost = (self.cost or 0.0) + other.cost
        for name, value in other.figures.items():
            self.figures[name] = self.figures.get(name, 0) + value


def count(fields: Mapping[str, Any], name: str) -> int:
    """Return the count *name* of *fields*; 0 if it is missing or impossibly large."""
    value = fields.get(name)
    return value if type(value) is int and 0 < value < _TOO_LARGE else 0


@dataclass(slots=True)
class End:
    """The end of the answer."""

    # The finish reason: `stop`, `length` (the token limit cut the answer) or another word of the
    # server; None when the server gave none.
    reason: str | None
    usage: Usage  # what the answer cost


@dataclass(slots=True)
class BrokenEnd:
    """The error to raise, because the answer went wrong here."""

    error: Exception


Chunk: TypeAlias = Text | Thinking | Refusal | TokenLogprobs | Call | End | BrokenEnd


def arguments_of(function: Mapping[str, Any]) -> object:
    """Return the arguments of the *function* of a call, or None.

    Raises:
        WrongShape: They stand under another key. Without them the tool would run with its defaults.
    """
    for spelling in SPELLINGS:
        if (arguments := function.get(spelling)) is not None:
            return arguments
    for key, value in function.items():
        is_json = isinstance(value, str) and key != "name" and value.lstrip().startswith("{")
        if is_json or isinstance(value, dict):
            raise WrongShape("a tool call whose arguments are under another key")
    return None
