r"""Regular expressions in the form that llama.cpp's grammar takes. Pure.

llama.cpp copies most of a pattern into its own grammar, so much of what every regex engine knows
is refused there or means something else:

- The pattern has to begin with ``^`` and end with ``$``; both are plain characters elsewhere.
- ``\d``, ``\w``, ``\s`` and most escaped punctuation are refused. Known escapes are ``\x``,
  ``\u``, ``\U``, ``\t``, ``\r``, ``\n``, ``\\``, ``\"``, ``\[``, ``\]``; and ``^ $ . [ ] ( ) | { }
  * + ?`` outside of a class.
- ``(?:`` and everything else behind ``(?`` is not understood.
- A quantifier behind an escaped character applies to more than that one.
- A non-ASCII character before a bracket, a bar or a quantifier is torn apart, outside of a class.
- ``.`` and ``[^…]`` take a quotation mark too, which ends the JSON text that the model writes.
- What is repeated 2,000 times or more is refused.

So a pattern is parsed here and written again in the few forms that are safe. A pattern that they
cannot say is not sent.

Source: llama.cpp ``common/json-schema-to-grammar.cpp`` (``_visit_pattern``) and
``src/llama-grammar.cpp`` (``parse_char``, ``handle_repetitions``), b10488.
"""

import re
from functools import lru_cache

Ranges = list[tuple[int, int]]
"""First and last code points, both included."""

MAX_REPEATS = 1_500
"""How many repetitions one pattern may ask for in all; llama.cpp stops at 2,000."""

_LAST = 0x10FFFF
# What a JSON text holds only in escaped form.
_NOT_PLAIN: Ranges = [(0, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), (0xD800, 0xDFFF)]
_DIGITS: Ranges = [(0x30, 0x39)]
_WORD: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_SPACE: Ranges = [(0x09, 0x0D), (0x20, 0x20)]
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_HEX_LENGTHS = {"x": 2, "u": 4, "U": 8}
_SPECIAL = frozenset("^$.[](){}|*+?")
_QUANTIFIERS = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_COUNTS = re.compile(r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}", re.ASCII)
_GROUP = re.compile(r"\((?:\?:|\?P?<[A-Za-z_]\w*>)?(?!\?)", re.ASCII)
_SET_OPERATORS = ("&&", "--", "~~", "||")


class _UnsayableError(Exception):
    """The grammar has no form for this pattern."""


@lru_cache(maxsize=256)
def to_grammar(pattern: str) -> str | None:
    r"""Return *pattern* in a form llama.cpp takes, or None when there is no such form.

    The result never matches what *pattern* does not. It matches less where a text would need an
    escape in JSON, and where ``\d`` or ``\w`` mean more than ASCII.
    """
    try:
        return _Rewriter(pattern).whole()
    except _UnsayableError:
        return None


class _Rewriter:
    """Reads one pattern from left to right and writes it in safe forms."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._repeats = 0

    def whole(self) -> str:
        """Return the whole pattern: alternatives that are anchored at both ends."""
        branches = [self._anchored()]
        while self._take("|"):
            branches.append(self._anchored())
        if self._at < len(self._text):
            raise _UnsayableError  # a bracket too many
        return f"^{'|'.join(branches)}$"

    def _anchored(self) -> str:
        if not (self._take("^") or self._take(r"\A")):
            raise _UnsayableError
        body = self._sequence()
        if not (self._take("$") or self._take(r"\Z") or self._take(r"\z")):
            raise _UnsayableError
        return body

    def _sequence(self) -> str:
        """Return the items up to an anchor, a bar, a closing bracket or the end."""
        items: list[str] = []
        while self._at < len(self._text) and not self._is_end():
            items.append(self._item())
        return "".join(items)

    def _is_end(self) -> bool:
        rest = self._text[self._at : self._at + 2]
        return rest[0] in "$|)" or rest in (r"\Z", r"\z")

    def _item(self) -> str:
        if self._text[self._at] == "(":
            return self._group() + self._quantifier()
        atom = _written(self._class()) if self._text[self._at] == "[" else self._single()
        quantifier = self._quantifier()
        # llama.cpp joins an escaped character to its neighbours.
        if quantifier and len(atom) > 1 and not atom.startswith("["):
            atom = _written([(ord(atom[-1]), ord(atom[-1]))])
        return atom + quantifier

    def _group(self) -> str:
        opening = _GROUP.match(self._text, self._at)
        if opening is None:
            raise _UnsayableError  # it looks around, sets flags, or refers back
        self._at = opening.end()
        self._count(1)
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        if not self._take(")"):
            raise _UnsayableError
        return f"({'|'.join(branches)})"

    def _single(self) -> str:
        """Return one character, escaped or not, or a class such as a dot."""
        character = self._next()
        if character == ".":
            return _written(_complement([]))
        if character in _SPECIAL:
            raise _UnsayableError
        if character != "\\":
            return _literal(ord(character))
        ranges = self._escape()
        first, last = ranges[0]
        is_one = len(ranges) == 1 and first == last
        return _literal(first) if is_one else _written(_plain(ranges))

    def _escape(self) -> Ranges:
        """Return what the escape behind a backslash stands for."""
        letter = self._next()
        if (ranges := _CLASSES.get(letter.lower())) is not None:
            return ranges if letter.islower() else _complement(ranges)
        if (control := _CONTROLS.get(letter)) is not None:
            return [(control, control)]
        if (length := _HEX_LENGTHS.get(letter)) is not None:
            digits = self._text[self._at : self._at + length]
            if not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digits):
                raise _UnsayableError
            self._at += length
            return [(int(digits, 16), int(digits, 16))]
        if letter.isalnum():
            raise _UnsayableError  # a boundary, a reference, a property of Unicode
        return [(ord(letter), ord(letter))]

    def _class(self) -> Ranges:
        self._at += 1
        is_negated = self._take("^")
        if self._text.startswith("]", self._at):
            raise _UnsayableError  # engines disagree on what it means here
        ranges: Ranges = []
        while not self._take("]"):
            if self._text.startswith(_SET_OPERATORS, self._at):
                raise _UnsayableError
            ranges += self._member()
        return _complement(ranges) if is_negated else _plain(ranges)

    def _member(self) -> Ranges:
        """Return one character, one range of characters, or a class inside of a class."""
        lower = self._character()
        follows = self._text[self._at : self._at + 2]
        if len(lower) != 1 or lower[0][0] != lower[0][1] or follows[:1] != "-" or follows == "-]":
            return lower
        self._at += 1
        upper = self._character()
        if len(upper) != 1 or upper[0][0] != upper[0][1] or upper[0][0] < lower[0][0]:
            raise _UnsayableError
        return [(lower[0][0], upper[0][0])]

    def _character(self) -> Ranges:
        character = self._next()
        if character == "[":
            raise _UnsayableError
        if character != "\\":
            return [(ord(character), ord(character))]
        if self._text.startswith("b", self._at):
            raise _UnsayableError  # a backspace
        return self._escape()

    def _quantifier(self) -> str:
        start = self._at
        if counts := _COUNTS.match(self._text, start):
            self._at = counts.end()
            least = int(counts[1])
            most = None if counts[2] and not counts[3] else int(counts[3] or counts[1])
            self._count(least if most is None else most)
            if most is not None and most < least:
                raise _UnsayableError
        elif self._at < len(self._text) and self._text[self._at] in _QUANTIFIERS:
            self._at += 1
            self._count(1)
        else:
            return ""
        written = self._text[start : self._at]
        self._take("?")  # lazy or not, the same texts match
        if self._at < len(self._text) and self._text[self._at] in "*+?{":
            raise _UnsayableError
        return written

    def _count(self, repeats: int) -> None:
        self._repeats += repeats
        if self._repeats > MAX_REPEATS:
            raise _UnsayableError

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise _UnsayableError
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, text: str) -> bool:
        """Step over *text* when it comes next."""
        found = self._text.startswith(text, self._at)
        if found:
            self._at += len(text)
        return found


def _literal(code: int) -> str:
    """Return one plain character, in a class of its own when the grammar could tear it apart."""
    if any(first <= code <= last for first, last in _NOT_PLAIN):
        raise _UnsayableError  # it would have to be matched in its escaped form
    character = chr(code)
    if not character.isascii():
        return _written([(code, code)])
    return f"\\{character}" if character in _SPECIAL else character


def _written(ranges: Ranges) -> str:
    """Return *ranges* as a class; not as a negated one, which would take quotation marks."""
    if not ranges:
        raise _UnsayableError
    ends = (dict.fromkeys((first, last)) for first, last in ranges)
    return f"[{''.join('-'.join(map(_escaped, each)) for each in ends)}]"


def _escaped(code: int) -> str:
    character = chr(code)
    if character in "[]":
        return f"\\{character}"
    if character in "^-":  # one would negate the class, the other make a range
        return f"\\x{code:02X}"
    return character if character.isascii() or character.isalnum() else f"\\U{code:08X}"


def _plain(ranges: Ranges) -> Ranges:
    """Return what of *ranges* a JSON text holds without an escape, sorted and joined."""
    return _complement(_complement(ranges))


def _complement(ranges: Ranges) -> Ranges:
    """Return every plain character that is not in *ranges*."""
    outside: Ranges = []
    start = 0
    for first, last in sorted([*ranges, *_NOT_PLAIN, (_LAST + 1, _LAST + 1)]):
        if start < first:
            outside.append((start, first - 1))
        start = max(start, last + 1)
    return outside
