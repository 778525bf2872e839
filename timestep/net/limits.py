"""Limits on how much a server may send. Pure.

Reading is linear in the bytes, but a few bytes can stand for many: packed ones, empty lines, calls,
values without content. A body beyond these limits is not an answer of a model.
"""

LONGEST = 256 << 20
"""How many bytes an answer may have, unpacked. A million chunks are about half of it."""

LONGEST_JSON = 6 << 20
"""How many bytes a line, an event or a document may have. It is read in one go, which takes about 3 ms
for each MB, and nothing else runs meanwhile. A million tokens are less."""

LONGEST_WITH_IMAGES = 20 << 20
"""The same for the Responses API, whose last event holds every image of the answer in base64. OpenAI's
own client reads it in one go, which takes about 2.5 ms for each MB."""

LONGEST_REFUSAL = 1_000_000
"""How many bytes of an error page are read."""

MOST_CALLS = 1_000
"""How many tools one answer may call."""

MOST_EMPTY_LINES = 100_000
"""How many lines of one answer may hold nothing. A server may send one a second to stay connected."""

MOST_DATA_LINES = 10_000
"""How many lines of data one server-sent event may have."""

MOST_VALUES = 100_000
"""How many values one piece of JSON may hold. They are read in one go, in about 50 ms."""


MOST_SAID = 10_000
"""The same for a refusal, which is masked value by value. A longer one is shown as text."""


def has_too_many_values(text: bytes | bytearray, *, most: int = MOST_VALUES) -> bool:
    """Return True when the JSON in *text* holds more than *most* values.

    Commas within strings are counted as well, so that this costs next to nothing.
    """
    return len(text) > most and sum(map(text.count, (b",", b"{", b"["))) > most
