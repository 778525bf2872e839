"""Collects what a model did in one try of a task, and decides whether it is right. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from timestep.cli.agent.run import Event, Handoff, Text, Thinking, ToolCall, ToolResult
from timestep.cli.check.task import Expectation, ExpectedCall, Words
from timestep.traces.text import as_json, call_text, one_line


@dataclass
class Observation:
    """What was seen."""

    # The tool calls in their order, those of one answer in one list.
    calls: list[list[ToolCall]] = field(default_factory=list[list[ToolCall]])
    answers: list[str] = field(default_factory=list[str])  # the text that ended each turn
    thinking: bool = False
    agent: str = ""  # the agent that answered last; empty without a handoff
    output: Any = None  # the last answer as a JSON value, if the task has a schema
    _text: str = ""
    _is_calling: bool = False

    def take(self, event: Event) -> None:
        """Note *event*."""
        match event:
            case Text():
                self._text += event.text
            case Thinking():
                self.thinking = self.thinking or bool(event.text.strip())
            case ToolCall():
                self._take_call(event)
            case ToolResult():
                self._text, self._is_calling = "", False
            case Handoff():
                self._text, self.agent = "", event.target
            case _:
                pass

    def end_turn(self) -> None:
        """Note that the answer of a turn is complete."""
        self.answers.append(self._text)
        self._text, self._is_calling = "", False

    def _take_call(self, call: ToolCall) -> None:
        # Results come when the answer has ended, so calls without a result in between are of one.
        if not self._is_calling:
            self.calls.append([])
        self.calls[-1].append(call)
        self._text, self._is_calling = "", True


_LONGEST = 160
_EMPHASIS = re.compile(r"[*_`]")
_LETTER = "[a-z0-9\u00c0-\u024f]"  # of scripts that put spaces between words
_NOT_BEHIND = rf"(?<!{_LETTER})(?<!\d[.,])"
_NOT_BEFORE = rf"(?!{_LETTER})(?![.,]\d)"
_THOUSANDS = re.compile(r"(?<=\d)[,\u202f](?=\d{3}(?!\d))")


def judge(expected: Expectation, seen: Observation) -> str | None:
    """Return the first difference in one line: what was expected and what came. None if right."""
    for rule in _RULES:
        difference = rule(expected, seen)
        if difference is not None:
            wanted, came = difference
            return f"expected {one_line(wanted, _LONGEST)}; got {one_line(came, _LONGEST)}"
    return None


def same(expected: Any, came: Any) -> bool:
    """Return whether two JSON values are equal. Case and outer spaces of texts do not count.

    An object may have further keys whose values are null or empty, as models fill optional
    arguments. A number is never equal to a text or to a boolean.
    """
    match expected:
        case bool() | None:
            return expected is came
        case int() | float():
            return isinstance(came, int | float) and not isinstance(came, bool) and expected == came
        case str():
            return isinstance(came, str) and _plain(expected) == _plain(came)
        case list():
            return _same_list(cast("list[Any]", expected), came)
        case dict():
            return _same_object(cast("dict[str, Any]", expected), came)
        case _:
            return bool(expected == came)


def _same_list(expected: list[Any], came: Any) -> bool:
    if not isinstance(came, list):
        return False
    values = cast("list[Any]", came)
    return len(expected) == len(values) and all(map(same, expected, values))


def _same_object(expected: Mapping[str, Any], came: Any) -> bool:
    if not isinstance(came, dict):
        return False
    fields = cast("dict[str, Any]", came)
    extra = [value for name, value in fields.items() if name not in expected]
    return all(
        name in fields and same(value, fields[name]) for name, value in expected.items()
    ) and all(value in (None, "", [], {}) for value in extra)


_Difference = tuple[str, str]


def _judge_calls(expected: Expectation, seen: Observation) -> _Difference | None:
    if expected.calls is None:
        return None
    came = [call for group in seen.calls for call in group]
    looked_at = came[: len(expected.calls)] if expected.more_calls else came
    if expected.order == "together":
        right = len(seen.calls) == 1 and _match_in_any_order(expected.calls, looked_at)
    else:
        right = len(expected.calls) == len(looked_at) and all(
            map(_is_call, expected.calls, looked_at)
        )
    if right:
        return None
    together = " together in one answer" if expected.order == "together" else ""
    wanted = ", ".join(map(_expected_text, expected.calls)) or "no call"
    return f"{wanted}{together}", _calls_text(seen)


def _match_in_any_order(expected: Sequence[ExpectedCall], came: Sequence[ToolCall]) -> bool:
    """Return whether each call of *expected* has a call of its own in *came*, and *came* has no more."""
    taken: dict[int, int] = {}

    def finds_one(wanted: int, looked_at: set[int]) -> bool:
        for at, call in enumerate(came):
            if at in looked_at or not _is_call(expected[wanted], call):
                continue
            looked_at.add(at)
            if at not in taken or finds_one(taken[at], looked_at):
                taken[at] = wanted
                return True
        return False

    return len(expected) == len(came) and all(
        finds_one(wanted, set()) for wanted in range(len(expected))
    )


def _is_call(expected: ExpectedCall, came: ToolCall) -> bool:
    if expected.name is not None and expected.name != came.name:
        return False
    return expected.arguments is None or same(expected.arguments, came.arguments)


def _expected_text(call: ExpectedCall) -> str:
    name = call.name or "any call"
    return name if call.arguments is None else call_text(name, call.arguments)


def _calls_text(seen: Observation) -> str:
    groups = [
        " and ".join(call_text(call.name, call.arguments) for call in group) for group in seen.calls
    ]
    if groups:
        return ", then ".join(groups)
    said = seen.answers[-1] if seen.answers else ""
    return f"no call, but {said!r}" if said.strip() else "no call"


def _judge_agent(expected: Expectation, seen: Observation) -> _Difference | None:
    if expected.agent is None or expected.agent == seen.agent:
        return None
    return f"a handoff to {expected.agent}", f"one to {seen.agent}" if seen.agent else "none"


def _judge_output(expected: Expectation, seen: Observation) -> _Difference | None:
    if expected.output is None or same(expected.output, seen.output):
        return None
    return as_json(expected.output), as_json(seen.output)


def _judge_answer(expected: Expectation, seen: Observation) -> _Difference | None:
    if expected.answer is None:
        return None
    return _judge_words(expected.answer, seen.answers[-1] if seen.answers else "")


def _judge_every_answer(expected: Expectation, seen: Observation) -> _Difference | None:
    if expected.every_answer is None:
        return None
    differences = (_judge_words(expected.every_answer, answer) for answer in seen.answers or [""])
    return next(filter(None, differences), None)


def _judge_words(expected: Words, answer: str) -> _Difference | None:
    plain, came = _plain(answer), repr(answer)
    for words in expected.contains:
        if not _holds(plain, words):
            return f"an answer with {words!r}", came
    for words in expected.lacks:
        if _holds(plain, words):
            return f"an answer without {words!r}", came
    if expected.ends is not None and re.findall(r"\w+", plain)[-1:] != [_plain(expected.ends)]:
        return f"an answer that ends with {expected.ends!r}", came
    return None


def _holds(plain: str, words: str) -> bool:
    """Return whether the text *plain* contains *words*, and not as part of a word or number."""
    wanted = _plain(words)
    before = _NOT_BEHIND if re.match(_LETTER, wanted) else ""
    after = _NOT_BEFORE if re.search(rf"{_LETTER}\Z", wanted) else ""
    return re.search(f"{before}{re.escape(wanted)}{after}", plain) is not None


def _judge_thinking(expected: Expectation, seen: Observation) -> _Difference | None:
    if expected.thinking is None or expected.thinking == seen.thinking:
        return None
    return ("thinking", "none") if expected.thinking else ("no thinking", "some")


def _plain(text: str) -> str:
    """Return *text* in lower case, without marks of emphasis and separators of thousands."""
    plain = _EMPHASIS.sub("", text.replace("\u2019", "'")).casefold().strip()
    return _THOUSANDS.sub("", plain)


_RULES: tuple[Callable[[Expectation, Observation], _Difference | None], ...] = (
    _judge_calls,
    _judge_agent,
    _judge_output,
    _judge_answer,
    _judge_every_answer,
    _judge_thinking,
)
