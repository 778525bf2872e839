"""Text that is held back until it is known to be right. Pure.

`ThinkTags` takes thinking out of the text. A gate takes the text of an answer piece by piece:
`Gate.feed` returns what may be shown, and `Gate.rest` what is held back. `AnswerText` is the gate for
emulated tools, `Held` for all else that is held back.
"""

import re
from collections.abc import Callable
from typing import Protocol

from timestep.answer.from_text import CALL_BEGINNINGS
from timestep.answer.rules import Reading, Rules

_OPENING = re.compile(r'\s*(?:```(?:json)?\s*)?\{\s*"answer"\s*:\s*"')
_LONGEST_OPENING = 200
# Characters and complete escapes. The first half of a surrogate pair waits for what follows it. An
# escape that JSON does not know counts as complete.
_WHOLE = re.compile(
    r"""(?:
    [^"\\]+
  | \\[^u]
  | \\u(?=.{0,3}[^0-9a-fA-F])
  | \\u(?![dD][89abAB])[0-9a-fA-F]{4}
  | \\u[dD][89abAB][0-9a-fA-F]{2}
    (?:\\u[dD][c-fC-F][0-9a-fA-F]{2} | (?!\\?\Z | \\u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?\Z))
    )*""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_TAG, _CLOSING = "<think>", "</think>"


class AnswerText:
    """Decodes the one string value of ``{"answer": "…"}`` across any split of the text.

    States: ``opening`` until the text shows whether it is such an object; ``string`` inside the value;
    ``closed`` after it; ``other`` for any other text.
    """

    __slots__ = ("_buffer", "_other", "_state")

    def __init__(self) -> None:
        self._state = "opening"
        self._buffer = ""  # cannot be decoded yet
        self._other: list[str] = []  # not an answer

    @property
    def is_open(self) -> bool:
        """True once there is an answer to show."""
        return self._state in {"string", "closed"}

    def feed(self, text: str) -> str:
        """Take *text*; return what it adds to the answer, or nothing if that is not clear yet."""
        if self._state == "other":
            self._other.append(text)
        elif self._state != "closed":
            self._buffer += text
            if self._state == "opening":
                self._open()
            if self._state == "string":
                return self._take()
        return ""

    def rest(self) -> str:
        """Return the whole text if it was not an answer, or nothing."""
        return "" if self.is_open else self._buffer + "".join(self._other)

    def _open(self) -> None:
        if match := _OPENING.match(self._buffer, 0, _LONGEST_OPENING):
            self._state, self._buffer = "string", self._buffer[match.end() :]
        elif len(self._buffer) > _LONGEST_OPENING:
            self._state = "other"

    def _take(self) -> str:
        match = _WHOLE.match(self._buffer)
        whole = match[0] if match else ""
        self._buffer = self._buffer[len(whole) :]
        if self._buffer.startswith('"'):
            self._state = "closed"
        if "\\" not in whole:
            return whole
        decoded = _ESCAPE.sub(_decode, whole)
        # Half a surrogate pair is not a character; it becomes U+FFFD.
        return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decode(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _SHORT.get(escape[2], escape[2])


class ThinkTags:
    """Separates thinking, ``<think>…</think>`` at the start, from text, across any split of the text.

    States: ``head`` until the first characters show whether the tag is there; ``thinking`` up to the
    closing tag; ``after`` while only white space follows it; ``text`` to the end.
    """

    __slots__ = ("_blank", "_state", "_waiting")

    def __init__(self) -> None:
        self._state = "head"
        self._blank: list[str] = []  # white space at the start
        self._waiting = ""

    def feed(self, text: str) -> tuple[str, str]:
        """Take *text*; return the thinking and the text that it adds."""
        if self._state == "text":
            return "", text
        self._waiting += text
        thinking = ""
        if self._state == "head":
            self._head()
        if self._state == "thinking":
            thinking = self._thinking()
        if self._state == "after":
            self._waiting = self._waiting.lstrip()
            if self._waiting:
                self._state = "text"
        if self._state != "text":
            return thinking, ""
        text, self._waiting = self._take_blank() + self._waiting, ""
        return thinking, text

    def rest(self) -> tuple[str, str]:
        """Return the rest of the thinking and the text, at the end of the answer."""
        waiting, self._waiting = self._take_blank() + self._waiting, ""
        return (waiting, "") if self._state == "thinking" else ("", waiting)

    def _take_blank(self) -> str:
        blank, self._blank = "".join(self._blank), []
        return blank

    def _head(self) -> None:
        begun = self._waiting.lstrip()
        self._blank.append(self._waiting[: len(self._waiting) - len(begun)])
        self._waiting = begun
        if begun.startswith(_TAG):
            self._state = "thinking"
            self._blank.clear()
            self._waiting = begun[len(_TAG) :]
        elif not _TAG.startswith(begun):
            self._state = "text"

    def _thinking(self) -> str:
        thinking, closed, rest = self._waiting.partition(_CLOSING)
        if closed:
            self._state, self._waiting = "after", rest
            return thinking
        # The end may be the beginning of the closing tag.
        held = next(n for n in range(len(_CLOSING) - 1, -1, -1) if thinking.endswith(_CLOSING[:n]))
        at = len(thinking) - held
        self._waiting = thinking[at:]
        return thinking[:at]


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
        self.is_live = self._tags is None and self._gate is None  # text is shown as it comes

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
