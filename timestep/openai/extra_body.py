"""The fields that a provider's table adds to the body of every request. Pure."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from agents import ModelSettings

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
