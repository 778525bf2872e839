"""Text that waits until it is known to be right, and what of it may be shown already. Pure.

A gate takes the text of an answer piece by piece. `Gate.feed` returns what may be shown, and
`Gate.rest` returns what was held back at the end.
"""

from collections.abc import Callable
from typing import Protocol

from timestep.answer.answer_text import AnswerText
from timestep.answer.rules import Reading, Rules
from timestep.answer.written import CALL_BEGINNINGS


class Gate(Protocol):
    """Holds text back."""

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
    """Holds everything back, or all from the beginning on until that tells that it may be shown.

    Args:
        is_shown: Says of the beginning, without white space before it, whether all the text may
            be shown; None while that is open.
    """

    __slots__ = ("_is_shown", "_parts", "is_open")

    def __init__(self, is_shown: Callable[[str], bool | None] | None = None) -> None:
        self._is_shown = is_shown
        self._parts: list[str] = []
        self.is_open = False

    def feed(self, text: str) -> str:
        """Take *text*; return what may be shown now."""
        if self.is_open:
            return text
        self._parts.append(text)
        return "" if self._is_shown is None else self._decide(self._is_shown)

    def rest(self) -> str:
        """Return what was held back."""
        return "".join(self._parts)

    def _decide(self, is_shown: Callable[[str], bool | None]) -> str:
        text = self.rest()
        verdict = is_shown(text.lstrip())
        if verdict is None:
            return ""
        self._is_shown = None
        self.is_open = verdict
        if not verdict:
            return ""
        self._parts.clear()
        return text


def gate_for(rules: Rules) -> Gate | None:
    """Return the gate for an answer that is read by *rules*; None when its text is shown at once."""
    if rules.reading is Reading.EMULATED:
        return AnswerText()
    if rules.reading is Reading.HELD:
        return Held()
    if rules.output is not None:
        return Held(_begins_as_json)
    return Held(_begins_as_words) if rules.text_calls and rules.tools else None


def _begins_as_json(begun: str) -> bool | None:
    # What begins with a fence or with prose may have to be taken back.
    return begun.startswith(("{", "[")) if begun else None


def _begins_as_words(begun: str) -> bool | None:
    if begun.startswith(CALL_BEGINNINGS):
        return False
    may_be_call = any(each.startswith(begun) for each in CALL_BEGINNINGS)
    return None if may_be_call else True
