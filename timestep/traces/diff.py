"""Differences between two recorded runs. Pure."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from timestep.traces.conversation import answered, question
from timestep.traces.records import Span, Trace
from timestep.traces.summary import complaint
from timestep.traces.text import one_line

_STEPS = frozenset({"generation", "response", "function", "handoff", "guardrail"})
_LONG = 10_000


class Difference(NamedTuple):
    """One thing that differs, as text. Times and tokens do not count as differences."""

    field: str
    left: str
    right: str


class StepPair(NamedTuple):
    """The same step in two runs; None where a run lacks it."""

    left: Span | None
    right: Span | None
    differences: Sequence[Difference] = ()

    @property
    def is_same(self) -> bool:
        """True when both runs have the step and it did the same."""
        return self.left is not None and self.right is not None and not self.differences


def compare(left: Trace, right: Trace) -> list[StepPair]:
    """Return the steps of two runs side by side, in order.

    Steps are calls of models and tools, handoffs and guardrails. They are matched by what they
    are, not by what they said: the second call of a model is compared with the second.
    """
    lefts, rights = _steps(left), _steps(right)
    matcher = SequenceMatcher(
        None, [_key(span) for span in lefts], [_key(span) for span in rights], autojunk=False
    )
    pairs: list[StepPair] = []
    for tag, start, end, other_start, other_end in matcher.get_opcodes():
        ours, theirs = lefts[start:end], rights[other_start:other_end]
        if tag == "equal":
            pairs += [_pair(a, b) for a, b in zip(ours, theirs, strict=True)]
        else:
            pairs += [StepPair(span, None) for span in ours]
            pairs += [StepPair(None, span) for span in theirs]
    return pairs


def describe(span: Span) -> dict[str, str]:
    """Return what a step did, as named texts."""
    facts = {"error": complaint(span)}
    if span.is_model_call:
        messages = answered(span)
        facts["question"] = question(span.data.get("input"))
        facts["model"] = span.name
        facts["thinking"] = "\n".join(message.thinking for message in messages if message.thinking)
        facts["answer"] = "\n".join(message.text for message in messages if message.text)
        facts["calls"] = "\n".join(str(call) for message in messages for call in message.calls)
    elif span.is_tool_call:
        output = span.data.get("output")
        facts["arguments"] = one_line(span.arguments, _LONG)
        if output is not None:
            facts["result"] = output if isinstance(output, str) else one_line(output, _LONG)
    else:
        facts["triggered"] = str(span.data.get("triggered", ""))
        facts["from"] = str(span.data.get("from_agent", ""))
    return facts


def _steps(trace: Trace) -> list[Span]:
    return [span for _, span in trace.walk() if span.kind in _STEPS]


def _key(span: Span) -> tuple[str, str]:
    return ("model", "") if span.is_model_call else (span.kind, span.name)


def _pair(left: Span, right: Span) -> StepPair:
    ours, theirs = describe(left), describe(right)
    names = dict.fromkeys((*ours, *theirs))
    pairs = (Difference(name, ours.get(name, ""), theirs.get(name, "")) for name in names)
    return StepPair(left, right, [pair for pair in pairs if pair.left != pair.right])
