"""The causes that an error may keep. Pure.

A crash report shows the words of every cause and the variables of every frame. Those of an HTTP
library repeat what the server sent, and so a key that it repeats.
"""

from timestep.net.connection import TransportError


def drop_frames(error: BaseException) -> None:
    """Take the frames out of *error* and its causes.

    Their variables hold the headers, and so the key, which a crash report would show.
    """
    seen: set[int] = set()
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            chain += [one.__cause__, one.__context__]


def as_cause(error: BaseException) -> TransportError:
    """Return *error* as the cause of an error of the tree: its class, and words of our own.

    A `TransportError` stays what it is, without the library's error behind it.
    """
    behind = error.__cause__ or error.__context__
    if isinstance(error, TransportError):
        kept = error
    else:
        kept, behind = TransportError("exchange", _words(error)), None
    kept.__cause__ = kept.__context__ = kept.__traceback__ = None
    if behind is not None:
        kept.add_note(f"raised for {_words(behind)}")
    return kept


def _words(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"
