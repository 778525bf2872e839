"""Reads the string under ``answer`` out of JSON text as it arrives. Pure.

A model that gets its tools in words answers ``{"answer": "…"}`` or writes a call as JSON. The words
of an answer are shown as they arrive; anything else is held back.

States: ``opening`` until the text shows whether it is such an object; ``string`` inside the value;
``closed`` after it; ``other`` for any other text.
"""

import re

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


class AnswerText:
    """Decodes the one string value of ``{"answer": "…"}`` across any split of the text."""

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
