"""The shape of the settings, read from their models: the names of a table, the types of a value.

Pure. Used to decode variables, to suggest names, and to describe the settings.
"""

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def arms(annotation: Any) -> Iterator[Any]:
    """Yield the plain types that *annotation* allows, without ``Annotated`` and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from arms(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for arm in get_args(annotation):
            yield from arms(arm)
    else:
        yield annotation


def is_model(arm: Any) -> bool:
    """Return True when *arm* is a section."""
    return isinstance(arm, type) and issubclass(arm, BaseModel)


def is_table(arm: Any) -> bool:
    """Return True when *arm* is written as a table: a section or a mapping."""
    return is_model(arm) or get_origin(arm) is dict


def arms_at(model: type[BaseModel], path: Sequence[str]) -> list[Any]:
    """Return the types that *model* allows at *path*; empty when there is no such key."""
    allowed: list[Any] = [model]
    for name in path:
        allowed = [below for arm in allowed for below in _below(arm, name)]
    return allowed


def names_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the names that the table at *path* knows; empty for a table with free names."""
    return sorted(
        {name for arm in arms_at(model, path) if is_model(arm) for name in arm.model_fields}
    )


def field_at(model: type[BaseModel], path: Sequence[str]) -> FieldInfo | None:
    """Return the field that describes the key at *path*, or None when no field does."""
    return next(
        (
            arm.model_fields[path[-1]]
            for arm in arms_at(model, path[:-1])
            if path and is_model(arm) and path[-1] in arm.model_fields
        ),
        None,
    )


def _below(arm: Any, name: str) -> Iterator[Any]:
    if is_model(arm):
        if name in arm.model_fields:
            # Metadata of the field itself is dropped here: only the shape matters.
            yield from arms(arm.model_fields[name].annotation)
        elif arm.model_config.get("extra") == "allow":
            yield Any
    elif get_origin(arm) is dict:
        yield from arms(get_args(arm)[1])
    elif arm is Any:
        yield Any
