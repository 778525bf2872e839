"""Tables that cannot be changed: settings stay what they were when a provider was built."""

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from pydantic import ValidationError
from pydantic_core import InitErrorDetails


class Frozen:
    """Refuses assignment. Unlike pydantic, it does not repeat the value, which may be a key."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            problem: InitErrorDetails = {"type": "frozen_instance", "loc": (name,), "input": None}
            raise ValidationError.from_exception_data(
                type(self).__name__, [problem], hide_input=True
            )
        super().__setattr__(name, value)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("settings cannot be changed; build new ones, and a provider from them")


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed. It pickles, copies and compares like any other."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["FrozenDict"], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A list that cannot be changed. It pickles, copies and compares like any other."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[type["FrozenList"], tuple[list[Any]]]:
        return FrozenList, (list(self),)


def freeze(value: Any) -> Any:
    """Return *value* with every dict and list in it frozen."""
    if isinstance(value, Mapping):
        below = cast("Mapping[str, Any]", value)
        return FrozenDict({name: freeze(item) for name, item in below.items()})
    if isinstance(value, list | tuple):
        return FrozenList(map(freeze, cast("list[Any]", value)))
    return value
