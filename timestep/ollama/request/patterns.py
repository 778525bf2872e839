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
_CLASSES: dict[str, Ranges] = {
    "d": [(0x30, 0x39)],
    "w": [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)],
    "s": [(0x09, 0x0D), (0x20, 0x20)],
}
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_SPECIAL = frozenset("^$.[](){}|*+?")
_SET_OPERATORS = ("&&", "--", "~~", "||")

_ESCAPE = r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
_WHOLE = re.compile(r"(?:\^|\\A)(.*)(?:\$|\\[Zz])", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<next>(?:\$|\\[Zz])\|(?:\^|\\A))"  # between two branches that are anchored
    r"|(?P<open>\((?:\?:|\?P?<[A-Za-z_]\w*>)?(?!\?))"
    r"|(?P<close>\))"
    r"|(?P<bar>\|)"
    rf"|\[(?!\^?\])(?P<hat>\^?)(?P<members>(?:{_ESCAPE}|[^\\\[\]])+)\]"
    r"|(?P<repeat>(?:[*+?]|\{\d{1,9}(?:,(?:\d{1,9})?)?\})\??)(?![*+?{])"
    rf"|(?P<one>{_ESCAPE}|[^\\^$\[\](){{}}|*+?])",
    re.ASCII | re.DOTALL,
)
_MEMBER = re.compile(rf"({_ESCAPE}|[^\\])(?:-({_ESCAPE}|[^\\]))?", re.DOTALL)


class _UnsayableError(Exception):
    """The grammar has no form for this pattern."""


@lru_cache(maxsize=256)
def to_grammar(pattern: str) -> str | None:
    r"""Return *pattern* in a form llama.cpp takes, or None when there is no such form.

    The result never matches what *pattern* does not. It matches less where a text would need an
    escape in JSON, and where ``\d`` or ``\w`` mean more than ASCII.
    """
    whole = _WHOLE.fullmatch(pattern)
    tokens = [] if whole is None else list(_TOKEN.finditer(whole[1]))
    if whole is None or "".join(token[0] for token in tokens) != whole[1]:
        return None
    try:
        written = f"^{''.join(_rewritten(tokens))}$"
        re.compile(written)  # else a bracket is open, or there is nothing to repeat
    except (_UnsayableError, ValueError, re.error, RecursionError):
        return None
    return written


def _rewritten(tokens: list[re.Match[str]]) -> list[str]:
    """Return each of *tokens* in a safe form."""
    written: list[str] = []
    depth = repeats = 0
    for token in tokens:
        kind, text = token.lastgroup, token[0]
        match kind:
            case "open":
                depth, repeats, text = depth + 1, repeats + 1, "("
            case "close":
                depth -= 1
            case "bar" | "next":
                if (depth == 0) != (kind == "next"):
                    raise _UnsayableError  # every branch has both anchors, and no group has any
                text = "|"
            case "repeat":
                repeats += int((re.findall(r"\d+", text) or ["1"])[-1])
                text = text.rstrip("?") or "?"  # lazy or not, the same texts match
                if written[-1:] and written[-1][0] == "\\":  # llama.cpp joins it to its neighbours
                    written[-1] = _written([(ord(written[-1][1]), ord(written[-1][1]))])
            case "members":
                text = _class(token["members"], is_negated=bool(token["hat"]))
            case _:
                text = _single(text)
        if repeats > MAX_REPEATS:
            raise _UnsayableError
        written.append(text)
    return written


def _single(text: str) -> str:
    """Return one character, escaped or not, or a class such as a dot."""
    if text == ".":
        return _written(_complement([]))
    ranges = _ranges(text)
    return _literal(ranges[0][0]) if _is_one(ranges) else _written(_plain(ranges))


def _class(members: str, *, is_negated: bool) -> str:
    if any(sign in members for sign in _SET_OPERATORS):
        raise _UnsayableError
    ranges: Ranges = []
    for first, last in _MEMBER.findall(members):
        ranges += [(_code(first), _code(last))] if last else _ranges(first)
    if any(last < first for first, last in ranges):
        raise _UnsayableError
    return _written(_complement(ranges) if is_negated else _plain(ranges))


def _code(text: str) -> int:
    ranges = _ranges(text)
    if not _is_one(ranges):
        raise _UnsayableError
    return ranges[0][0]


def _is_one(ranges: Ranges) -> bool:
    """Return True when *ranges* are one character."""
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _ranges(text: str) -> Ranges:
    """Return what *text*, a character or an escape, stands for."""
    if text[0] != "\\":
        return [(ord(text), ord(text))]
    letter, digits = text[1], text[2:]
    if (ranges := _CLASSES.get(letter.lower())) is not None:
        return ranges if letter.islower() else _complement(ranges)
    if not digits and letter.isalnum() and letter not in _CONTROLS:
        raise _UnsayableError  # a boundary, a reference, a property of Unicode
    code = int(digits, 16) if digits else _CONTROLS.get(letter, ord(letter))
    return [(code, code)]


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
