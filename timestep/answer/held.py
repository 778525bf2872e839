"""Text that is held back until it is known to be right. Pure.

A gate takes the text of an answer piece by piece. `Gate.feed` returns what may be shown, and
`Gate.rest` returns what is held back. `AnswerText` is the gate for emulated tools, `Held` for all
else that is held back.
"""

from collections.abc import Callable
from typing import Protocol

from timestep.answer.answer_text import AnswerText
from timestep.answer.rules import Reading, Rules
from timestep.answer.think_tags import ThinkTags
from timestep.answer.written import CALL_BEGINNINGS


class Gate(Protocol):
    """Holds text back until it is known to be right."""

    @property
    def is_open(self) -> bool:
        """True when all the text so far may be shown."""
        ...

    def feed(self, text: str) -> str:
        """Take *text*; return what may be shown now."""
        ...

    def rest(self) -> str:
        """Return what was held back."""
        ...


class Held:
    """Holds all the text back, or holds it until its beginning says that it may be shown.

    Args:
        is_shown: Returns whether the text may be shown, by its beginning without white space; None
            if that is not clear yet.
    """

    __slots__ = ("_begun", "_is_shown", "_parts", "is_open")

    def __init__(self, is_shown: Callable[[str], bool | None] | None = None) -> None:
        self._is_shown = is_shown
        self._parts: list[str] = []
        self._begun = ""  # without leading white space; a few characters decide
        self.is_open = False

    def feed(self, text: str) -> str:
        """Take *text*; return what may be shown now."""
        if self.is_open:
            return text
        self._parts.append(text)
        return "" if self._is_shown is None else self._decide(text, self._is_shown)

    def rest(self) -> str:
        """Return what was held back."""
        return "".join(self._parts)

    def _decide(self, text: str, is_shown: Callable[[str], bool | None]) -> str:
        self._begun += text if self._begun else text.lstrip()
        verdict = is_shown(self._begun)
        if verdict is None:
            return ""
        self._is_shown = None
        self.is_open = verdict
        if not verdict:
            return ""
        text = self.rest()
        self._parts.clear()
        return text


class HeldText:
    """The text of one answer on its way to the items.

    Takes thinking in tags out of it, and holds back what may turn out wrong.
    """

    __slots__ = ("_gate", "_rules", "_tags", "is_live")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._tags = ThinkTags() if rules.think_tags else None
        self._gate = _gate_for(rules)
        # True when every text is shown at once, as it came.
        self.is_live = self._tags is None and self._gate is None

    @property
    def holds(self) -> bool:
        """True when text is held back."""
        return self._gate is not None and not self._gate.is_open

    @property
    def held(self) -> str:
        """The text that is held back."""
        return "" if self._gate is None else self._gate.rest()

    def feed(self, text: str) -> tuple[str, str]:
        """Take *text*; return the thinking and the text that may be shown now."""
        thinking = ""
        if self._tags is not None:
            thinking, text = self._tags.feed(text)
        return thinking, text if self._gate is None else self._gate.feed(text)

    def end(self) -> tuple[str, str]:
        """Return the thinking and the text that may be shown at the end of the answer."""
        if self._tags is None:
            return "", ""
        thinking, text = self._tags.rest()
        return thinking, text if self._gate is None else self._gate.feed(text)

    def take(self) -> str:
        """Return the text that is held back, and forget it."""
        if text := self.held:
            self._gate = _gate_for(self._rules)
        return text


def _gate_for(rules: Rules) -> Gate | None:
    """Return the gate for an answer that *rules* describe; None if its text is shown at once."""
    if rules.reading is Reading.EMULATED:
        return AnswerText()
    if rules.reading is Reading.HELD:
        return Held()
    if rules.output is not None:
        return Held(_begins_as_json)
    return Held(_begins_as_words) if rules.text_calls and rules.tools else None


def _begins_as_json(begun: str) -> bool | None:
    # A text that begins with a fence or with prose may turn out wrong.
    return begun.startswith(("{", "[")) if begun else None


def _begins_as_words(begun: str) -> bool | None:
    if begun.startswith(CALL_BEGINNINGS):
        return False
    may_be_call = any(each.startswith(begun) for each in CALL_BEGINNINGS)
    return None if may_be_call else True
