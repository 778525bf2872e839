"""Reads thinking in the text: ``<think>…</think>`` at its start. Pure.

States: ``head`` until the first characters show whether the tag is there; ``thinking`` up to the
closing tag; ``after`` while only white space follows it; ``text`` to the end.
"""

_OPENING, _CLOSING = "<think>", "</think>"


class ThinkTags:
    """Separates thinking from text across any split of the text."""

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
        if begun.startswith(_OPENING):
            self._state = "thinking"
            self._blank.clear()
            self._waiting = begun[len(_OPENING) :]
        elif not _OPENING.startswith(begun):
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
