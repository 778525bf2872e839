"""Text that waits until it is known to be right, and what of it may be shown already. Pure.

A gate takes the text of an answer piece by piece. `Gate.feed` returns what may be shown, and
`Gate.rest` returns what was held back at the end.
"""

from typing import Protocol

from timestep.answer.answer_text import AnswerText
from timestep.answer.rules import Reading, Rules


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
    """Holds everything back.

    A structured answer that streams is held only until it begins as JSON does. One that begins
    with a fence or with prose may have to be taken back, so it is held to its end.
    """

    __slots__ = ("_is_unproven", "_parts", "is_open")

    def __init__(self, *, until_json: bool = False) -> None:
        self._is_unproven = until_json
        self._parts: list[str] = []
        self.is_open = False

    def feed(self, text: str) -> str:
        """Take *text*; return what may be shown now."""
        if self.is_open:
            return text
        self._parts.append(text)
        return self._prove() if self._is_unproven else ""

    def rest(self) -> str:
        """Return what was held back."""
        return "".join(self._parts)

    def _prove(self) -> str:
        text = self.rest()
        begun = text.lstrip()
        self._is_unproven = not begun
        if not begun.startswith(("{", "[")):
            return ""
        self.is_open = True
        self._parts.clear()
        return text


def gate_for(rules: Rules) -> Gate | None:
    """Return the gate for an answer that is read by *rules*; None when its text is shown at once."""
    if rules.reading is Reading.EMULATED:
        return AnswerText()
    if rules.reading is Reading.HELD:
        return Held()
    return Held(until_json=True) if rules.output is not None else None
