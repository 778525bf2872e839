"""The events that go into a trace store and the records that come out: plain data, no SDK, no SQL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from timestep.traces.calls import read_arguments

JsonObject = Mapping[str, Any]

_FEWEST_TIMED_TOKENS = 3
"""An answer of fewer tokens says nothing about the speed of its model."""

OUTCOMES = ("ok", "failed", "cut", "cancelled", "replayed", "running")
"""How a run can stand: ``cut`` is its last answer, by the token limit; ``running`` has not ended."""


def speed(calls: Iterable[tuple[int | None, float | None]]) -> float | None:
    """Return the tokens per second of *calls*, which are tokens and seconds; None if unknown."""
    timed = [(made, took) for made, took in calls if made and made >= _FEWEST_TIMED_TOKENS and took]
    return sum(made for made, _ in timed) / sum(took for _, took in timed) if timed else None


EVENT_BYTES = 500
"""What an event takes in memory beside its content, about."""


class TraceStarted(NamedTuple):
    """A run began. Times are Unix seconds; *metadata* is JSON."""

    trace_id: str
    name: str
    group_id: str | None
    metadata: str | None
    started_at: float


class TraceEnded(NamedTuple):
    """A run ended."""

    trace_id: str
    ended_at: float


class SpanStarted(NamedTuple):
    """A step of a run began."""

    span_id: str
    trace_id: str
    parent_id: str | None
    kind: str  # the SDK's span type, such as `generation`
    name: str
    started_at: float
    # What the user said last, if a model call is the first to answer it.
    question: str | None = None


class SpanEnded(NamedTuple):
    """A step of a run ended."""

    span_id: str
    trace_id: str
    kind: str
    name: str
    ended_at: float
    error: str | None  # JSON of `{"message": …, "data": …}`, or None
    data: str  # JSON object, what the SDK exports of the span plus what it withholds from export
    text: str = ""  # what a search should find the span by
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_token_seconds: float | None = None  # from the request to the first output
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    output_seconds: float | None = None
    context_length: int | None = None  # the window in tokens, where the request sets it
    total_seconds: float | None = None  # how long the step took, for statistics
    cost: float | None = None  # in US dollars; None when it is not known
    question: str | None = None  # as in `SpanStarted`, if it was not known then
    answer: str | None = None  # the text of a model's answer
    outcome: str | None = None  # `failed`, `cancelled` or `cut`; None when the step did well
    # The bytes of the model's server, oldest first; repairs make several.
    exchanges: "tuple[Exchange, ...]" = ()


class SpanCut(SpanEnded):
    """The end of a step whose content is larger than the queue, and is left out."""

    __slots__ = ()


class Exchange(NamedTuple):
    """One request and its answer, byte for byte; *status* is None when no answer came."""

    url: str
    status: int | None
    request: bytes
    response: bytes


class SpanBegun(NamedTuple):
    """The start of a step as the SDK says it; `timestep.traces.columns` makes a `SpanStarted` of it."""

    span_id: str
    trace_id: str
    parent_id: str | None
    kind: str
    name: str
    started_at: str | None  # in ISO 8601
    question: str | None = None


class SpanCopied(NamedTuple):
    """The end of a step as it was copied; `timestep.traces.columns` makes a `SpanEnded` of it."""

    span_id: str
    trace_id: str
    kind: str
    name: str
    started_at: str | None  # in ISO 8601
    ended_at: str | None
    error: str | None
    data: str
    outcome: str | None = None
    exchanges: tuple[Exchange, ...] = ()


Event = TraceStarted | TraceEnded | SpanStarted | SpanEnded
Copied = SpanBegun | SpanCopied
"""Events that are still to be read."""


@dataclass(frozen=True)
class StoredExchange:
    """One exchange in the store; the bodies are looked up by their hash."""

    url: str
    status: int | None
    request: str  # the SHA-256 of the request's body, in hex
    response: str  # the SHA-256 of the response's body, in hex


class _Timed:
    """What has a beginning and an end."""

    started_at: float
    ended_at: float | None

    @property
    def total_seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return None if self.ended_at is None else max(0.0, self.ended_at - self.started_at)


class _Run(_Timed):
    name: str
    question: str

    @property
    def title(self) -> str:
        """The first words of the question, or the name of the workflow."""
        return self.question or self.name


@dataclass(frozen=True)
class Span(_Timed):
    """One step of a recorded run.

    Attributes:
        span_id: The SDK's id.
        parent_id: The step around it, or None.
        kind: The SDK's span type: ``agent``, ``turn``, ``generation``, ``response``,
            ``function``, ``handoff``, ``guardrail``, ``custom``, ….
        name: Of the agent, tool, guardrail or model.
        started_at: Unix seconds.
        ended_at: Unix seconds; None while it is open, and always if the process was killed.
        error: ``{"message": …, "data": …}``, or None.
        data: What the SDK says of the step, such as ``input`` and ``output``.
        cost: In US dollars; None when it is not known.
        outcome: ``failed``, ``cancelled`` or ``cut``; None when it did well, or is open.
        exchanges: The exchanges with the model's server, oldest first.
    """

    span_id: str
    trace_id: str
    parent_id: str | None
    kind: str
    name: str
    started_at: float
    ended_at: float | None = None
    error: JsonObject | None = None
    data: JsonObject = field(default_factory=dict[str, Any])
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_token_seconds: float | None = None
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    output_seconds: float | None = None
    context_length: int | None = None
    cost: float | None = None
    outcome: str | None = None
    exchanges: Sequence[StoredExchange] = ()

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of the answer per second of decoding, as the server measured it.

        None when the server does not say, or for an answer of a token or two.
        """
        return speed([(self.output_tokens, self.output_seconds)])

    @property
    def context_fill(self) -> float | None:
        """The used part of the context window, 0 to 1 (more when the server counts generously)."""
        if not self.context_length or self.input_tokens is None:
            return None
        return (self.input_tokens + (self.output_tokens or 0)) / self.context_length

    @property
    def is_model_call(self) -> bool:
        """True for a call of a model, whichever API it went to."""
        return self.kind in {"generation", "response"}

    @property
    def is_tool_call(self) -> bool:
        """True for a call of a function tool."""
        return self.kind == "function"

    @property
    def is_call(self) -> bool:
        """True for a call of a model or a function tool."""
        return self.is_model_call or self.is_tool_call

    @property
    def arguments(self) -> Any:
        """The arguments of a tool call: an object, or the text when it is not JSON."""
        return read_arguments(self.data.get("input"))


@dataclass(frozen=True)
class Summary(_Run):
    """One line of a list of runs.

    Attributes:
        name: Of the workflow, as the application calls it.
        group_id: Of the session; its runs have the same.
        started_at: Unix seconds.
        ended_at: Unix seconds; None while the run goes on, or if its process was killed.
        question: The first words of the question; empty when they are not recorded.
        answer: The first words of the answer; empty when the run has no answer, or it is not recorded.
        outcome: One of `OUTCOMES`.
        models: The models that were called, in the order of their first calls.
        agents: The agents that ran, in the order they began.
        calls: How often a model was called.
        tools: How often a tool was called.
        errors: How many steps failed.
        cost: Of the model calls whose cost is known, in US dollars; None when no cost is known.
    """

    trace_id: str
    name: str
    group_id: str | None
    started_at: float
    ended_at: float | None
    question: str = ""
    answer: str = ""
    outcome: str = "ok"
    models: Sequence[str] = ()
    agents: Sequence[str] = ()
    calls: int = 0
    tools: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True)
class Trace(_Run):
    """One recorded run: its spans in the order they began.

    Attributes:
        started_at: Unix seconds.
        ended_at: Unix seconds; None while the run goes on, or if its process was killed.
        question: The first words of the question; empty when they are not recorded.
        outcome: One of `OUTCOMES`.
        metadata: What the application attached.
    """

    trace_id: str
    name: str
    started_at: float
    ended_at: float | None = None
    group_id: str | None = None
    metadata: JsonObject | None = None
    question: str = ""
    outcome: str = "ok"
    spans: Sequence[Span] = ()

    @property
    def model_calls(self) -> list[Span]:
        """The calls of models, in the order they began."""
        return [span for span in self.spans if span.is_model_call]

    @property
    def tool_calls(self) -> list[Span]:
        """The calls of tools, in the order they began."""
        return [span for span in self.spans if span.is_tool_call]

    @property
    def errors(self) -> list[Span]:
        """The spans that failed."""
        return [span for span in self.spans if span.error is not None]

    def children(self, parent: Span | None) -> list[Span]:
        """The spans right below *parent*, or the outermost ones."""
        return self._by_parent.get(parent.span_id if parent else None, [])

    def around(self, span: Span, kind: str) -> Span | None:
        """Return the nearest span of *kind* around *span*, or None."""
        seen = {span.span_id}  # in a damaged file a span may stand inside itself
        parent = self._by_id.get(span.parent_id or "")
        while parent is not None and parent.span_id not in seen:
            if parent.kind == kind:
                return parent
            seen.add(parent.span_id)
            parent = self._by_id.get(parent.parent_id or "")
        return None

    def walk(self) -> Iterator[tuple[int, Span]]:
        """All spans with their depth, parents first, in the order they began."""
        pending = [(0, span) for span in reversed(self.children(None))]
        while pending:
            depth, span = pending.pop()
            yield depth, span
            pending += [(depth + 1, child) for child in reversed(self.children(span))]

    @cached_property
    def _by_id(self) -> dict[str, Span]:
        return {span.span_id: span for span in self.spans}

    @cached_property
    def _by_parent(self) -> dict[str | None, list[Span]]:
        children: dict[str | None, list[Span]] = {}
        for span in self.spans:
            # A parent may be missing: pruned, lost, or of a run that began in another process.
            parent = span.parent_id if span.parent_id in self._by_id else None
            children.setdefault(parent, []).append(span)
        return children
