"""Collects what a model did in one try of a task, and decides whether it is right. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, cast

from agents import TResponseInputItem

from timestep.cli.check.task import Expectation, ExpectedCall, Words
from timestep.net.json_text import as_json
from timestep.traces.calls import call_text
from timestep.traces.conversation import Call, Message, read_messages
from timestep.traces.text import one_line

_LONGEST = 160
_EMPHASIS = re.compile(r"[*_`]")
_LETTER = "[a-z0-9\u00c0-\u024f]"  # of scripts that put spaces between words
_NOT_BEHIND = rf"(?<!{_LETTER})(?<!\d[.,])"
_NOT_BEFORE = rf"(?!{_LETTER})(?![.,]\d)"
_THOUSANDS = re.compile(r"(?<=\d)[,\u202f](?=\d{3}(?!\d))")


@dataclass
class Observation:
    """What was seen."""

    # The tool calls in their order, those of one answer in one list.
    calls: list[list[Call]] = field(default_factory=list[list[Call]])
    answers: list[str] = field(default_factory=list[str])  # the text that ended each turn
    thinking: bool = False
    agent: str = ""  # the agent that answered last; empty without a handoff
    output: Any = None  # the last answer as a JSON value, if the task has a schema

    def add_turn(self, items: Sequence[TResponseInputItem]) -> None:
        """Note the *items* that a turn added to the conversation."""
        last = Message("assistant")
        for last in read_messages(items):
            self.calls += [list(last.calls)] if last.calls else []
            self.thinking = self.thinking or bool(last.thinking.strip())
        self.answers.append("" if last.calls else last.text)


def judge(expected: Expectation, seen: Observation) -> str | None:
    """Return the first difference in one line: what was expected and what came. None if right."""
    for wanted, came in _differences(expected, seen):
        return f"expected {one_line(wanted, _LONGEST)}; got {one_line(came, _LONGEST)}"
    return None


def _differences(expected: Expectation, seen: Observation) -> Iterator[tuple[str, str]]:
    yield from _judge_calls(expected, seen)
    if expected.agent is not None and expected.agent != seen.agent:
        yield f"a handoff to {expected.agent}", f"one to {seen.agent}" if seen.agent else "none"
    if expected.output is not None and not same(expected.output, seen.output):
        yield as_json(expected.output), as_json(seen.output)
    answers = seen.answers or [""]
    if expected.answer is not None:
        yield from _judge_words(expected.answer, answers[-1])
    if expected.every_answer is not None:
        for answer in answers:
            yield from _judge_words(expected.every_answer, answer)
    if expected.thinking is not None and expected.thinking != seen.thinking:
        yield ("thinking", "none") if expected.thinking else ("no thinking", "some")


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
            wanted, values = cast("list[Any]", expected), cast("list[Any]", came)
            is_list = isinstance(came, list) and len(wanted) == len(values)
            return is_list and all(map(same, wanted, values))
        case dict():
            fields, found = cast("dict[str, Any]", expected), cast("dict[str, Any]", came)
            return isinstance(came, dict) and all(
                same(fields[name], found[name])
                if name in found and name in fields
                else name in found and found[name] in (None, "", [], {})
                for name in {*fields, *found}
            )
        case _:
            return bool(expected == came)


def _judge_calls(expected: Expectation, seen: Observation) -> Iterator[tuple[str, str]]:
    if expected.calls is None:
        return
    came = [call for group in seen.calls for call in group]
    looked_at = came[: len(expected.calls)] if expected.more_calls else came
    is_together = expected.order == "together"
    if len(expected.calls) == len(looked_at) and (len(seen.calls) == 1 or not is_together):
        orders = permutations(looked_at) if is_together else [looked_at]
        if any(all(map(_is_call, expected.calls, order)) for order in orders):
            return
    names = [
        each.name or "any call"
        if each.arguments is None
        else call_text(each.name or "any call", each.arguments)
        for each in expected.calls
    ]
    wanted = ", ".join(names) or "no call"
    said = seen.answers[-1] if seen.answers else ""
    groups = ", then ".join(" and ".join(map(str, group)) for group in seen.calls)
    silent = f"no call, but {said!r}" if said.strip() else "no call"
    yield f"{wanted}{' together in one answer' if is_together else ''}", groups or silent


def _is_call(expected: ExpectedCall, came: Call) -> bool:
    return expected.name in (None, came.name) and (
        expected.arguments is None or same(expected.arguments, came.arguments)
    )


def _judge_words(expected: Words, answer: str) -> Iterator[tuple[str, str]]:
    plain, came = _plain(answer), repr(answer)
    for words in expected.contains:
        if not _holds(plain, words):
            yield f"an answer with {words!r}", came
    for words in expected.lacks:
        if _holds(plain, words):
            yield f"an answer without {words!r}", came
    if expected.ends is not None and re.findall(r"\w+", plain)[-1:] != [_plain(expected.ends)]:
        yield f"an answer that ends with {expected.ends!r}", came


def _holds(plain: str, words: str) -> bool:
    """Return whether the text *plain* contains *words*, and not as part of a word or number."""
    wanted = _plain(words)
    before = _NOT_BEHIND if re.match(_LETTER, wanted) else ""
    after = _NOT_BEFORE if re.search(rf"{_LETTER}\Z", wanted) else ""
    return re.search(f"{before}{re.escape(wanted)}{after}", plain) is not None


def _plain(text: str) -> str:
    """Return *text* in lower case, without marks of emphasis and separators of thousands."""
    plain = _EMPHASIS.sub("", text.replace("\u2019", "'")).casefold().strip()
    return _THOUSANDS.sub("", plain)
