"""Reads ``--set NAME=VALUE``: model settings by name, with the types the SDK declares."""

import dataclasses
import difflib
import json
from collections.abc import Iterable
from typing import Any, cast

import click
from agents import ModelSettings
from pydantic import TypeAdapter, ValidationError

from timestep.net.options import OPTION_NAMES

_NAMES = [field.name for field in dataclasses.fields(ModelSettings)]
_SETTINGS = TypeAdapter(ModelSettings)


def parse_settings(pairs: Iterable[str]) -> ModelSettings:
    """Return the settings in *pairs* of ``NAME=VALUE``.

    Dots lead into a setting, as in ``reasoning.effort=high``.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set {pair}: write NAME=VALUE, as in temperature=0.2.")
        _put(given, name.strip(), text)
    # One by one: a value stays text only if its setting takes no other type.
    return ModelSettings(**{name: _typed(name, value) for name, value in given.items()})


def _put(given: dict[str, Any], name: str, text: str) -> None:
    first, *below = name.split(".")
    if first not in _NAMES:
        raise click.UsageError(f"--set {name}: unknown setting.{_hint(first)}")
    table, key = given, first
    for step in below:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"--set {name}: {key} is set to a value already.")
        table, key = cast("dict[str, Any]", inner), step
    table[key] = text


def _hint(name: str) -> str:
    if name in OPTION_NAMES:
        return f" It is an Ollama option: write extra_args.{name}=VALUE."
    near = difflib.get_close_matches(name, _NAMES, n=1)
    return f" Did you mean {near[0]}?" if near else f" The settings are {', '.join(_NAMES)}."


def _typed(name: str, value: Any) -> Any:
    try:
        settings = _SETTINGS.validate_python({name: _from_json(value)})
    except ValidationError:
        try:
            settings = _SETTINGS.validate_python({name: value})
        except ValidationError as exc:
            error = exc.errors(include_url=False)[0]
            place = ".".join(str(part) for part in error["loc"])
            raise click.UsageError(f"--set {place}: {error['msg']}.") from exc
    return getattr(settings, name)


def _from_json(value: Any) -> Any:
    """Return *value* with every string that is JSON parsed: numbers, true, lists, objects."""
    if isinstance(value, dict):
        return {key: _from_json(below) for key, below in cast("dict[str, Any]", value).items()}
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
