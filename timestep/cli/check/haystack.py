"""Text to hide a sentence in: always the same for the same length. Pure."""

_CHARACTERS = 4
"""How many characters of plain English make a token, about."""
_PLACE = 0.4
"""Where the sentence stands, as a part of the whole."""
_WHO = ("The baker", "A sailor", "The teacher", "My neighbour", "The gardener", "An old friend")
_DOES = ("walked to", "wrote about", "came back from", "painted", "talked about")
_WHAT = ("the harbour", "a quiet village", "the market", "the long bridge", "a green hill")
_WHEN = ("in the morning", "after the rain", "before supper", "on a warm day")


def hide(needle: str, tokens: int) -> str:
    """Return about *tokens* tokens of plain sentences with *needle* among them."""
    size = max(0, tokens * _CHARACTERS - len(needle))
    sentences: list[str] = []
    length = 0
    while length < size:
        sentences.append(_sentence(len(sentences)))
        length += len(sentences[-1]) + 1
    before = int(len(sentences) * _PLACE)
    return " ".join([*sentences[:before], needle, *sentences[before:]])


def _sentence(number: int) -> str:
    parts = (_WHO, _DOES, _WHAT, _WHEN)
    # The lists have different lengths, so that neighbours differ and nothing repeats soon.
    return " ".join(part[(number * (at + 1)) % len(part)] for at, part in enumerate(parts)) + "."
