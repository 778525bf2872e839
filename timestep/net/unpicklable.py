"""Objects that hold keys and connections: they are copied within a process and never pickled."""

from copy import deepcopy
from typing import Any, Self, cast


class Unpicklable:
    """Refuses to be pickled, in words that say what to do instead. It can be copied."""

    def __reduce__(self) -> Any:
        """Refuse to be pickled."""
        raise TypeError(
            f"{type(self).__name__} is not pickled, because it holds keys and connections. Call "
            "MultiModelProvider.from_env() in the worker."
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start with *state*."""
        vars(self).update(state)

    def __copy__(self) -> Self:
        copy = type(self).__new__(type(self))
        copy.__setstate__(_state(self))
        return copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copy = memo[id(self)] = type(self).__new__(type(self))
        copy.__setstate__(deepcopy(_state(self), memo))
        return copy


def _state(thing: object) -> dict[str, Any]:
    return dict(cast("dict[str, Any]", thing.__getstate__()))
