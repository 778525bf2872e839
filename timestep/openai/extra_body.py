"""The fields that a provider's table adds to the body of every request. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from agents import ModelSettings

from timestep.errors import UnsupportedInputError

_ALWAYS_SAID = {"model", "messages", "input", "instructions", "tools", "stream"}
_ALSO_CALLED = {
    "max_tokens": ("max_completion_tokens", "max_output_tokens"),
    "reasoning": ("reasoning_effort",),
    "response_include": ("include",),
}
"""Settings that have another name in a body."""


def added_fields(extra_body: Mapping[str, Any], settings: ModelSettings) -> Mapping[str, Any]:
    """Return the fields of *extra_body* about which a call with *settings* says nothing."""
    if not extra_body:
        return extra_body
    named = {field.name for field in fields(settings) if getattr(settings, field.name) is not None}
    others = {other for name in named for other in _ALSO_CALLED.get(name, ())}
    said = _ALWAYS_SAID | named | others | (settings.extra_args or {}).keys()
    return {name: value for name, value in extra_body.items() if name not in said}


def fields_of(value: object, name: str) -> dict[str, Any]:
    """Return *value* of the setting *name*, which must be a mapping; empty for None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnsupportedInputError(f"{name} is {type(value).__name__}; pass a dict.")
    return dict(cast("Mapping[str, Any]", value))
