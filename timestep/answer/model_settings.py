"""Settings of a model, as text and numbers say them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agents import ModelSettings
from pydantic import TypeAdapter, ValidationError

from timestep.net.encoding import not_finite
from timestep.net.nearest import nearest
from timestep.net.ollama_options import OPTION_NAMES

_SETTINGS = TypeAdapter(ModelSettings)
_KNOWN = tuple(ModelSettings.__dataclass_fields__)


class WrongSettingError(ValueError):
    """A setting cannot be used. The text says why, without the value."""

    def __init__(self, path: str, said: str) -> None:
        super().__init__(said)
        self.path = path  # its keys with dots between them


def read_model_settings(table: Mapping[str, Any]) -> ModelSettings:
    """Return the settings in *table*.

    Raises:
        WrongSettingError: A name is unknown, a value has a wrong type, or a number is not finite.
    """
    for name in sorted(table.keys() - {*_KNOWN}):
        raise WrongSettingError(name, f"unknown setting; {_hint(name)}")
    try:
        settings = _SETTINGS.validate_python(dict(table))
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_input=False)[0]
        raise WrongSettingError(_written(table, wrong["loc"]), wrong["msg"]) from None
    # Read too, because pydantic makes a number of the text "nan".
    read = {name: getattr(settings, name) for name in table}
    if (found := not_finite(table, "") or not_finite(read, "")) is not None:
        said = "holds nan or inf, which a request cannot carry; write a finite number"
        raise WrongSettingError(found[0], said)
    return settings


def _hint(name: str) -> str:
    if name in OPTION_NAMES:
        return f"it is an Ollama option: write extra_args.{name}"
    near = nearest(name, _KNOWN)
    return f"did you mean {near}?" if near else f"the settings are {', '.join(_KNOWN)}"


def _written(table: Mapping[str, Any], loc: Sequence[int | str]) -> str:
    """Return the part of *loc* that is a path in *table*; pydantic adds the types that it tried."""
    parts: list[str] = []
    value: object = table
    for part in loc:
        if not isinstance(value, Mapping) or part not in value:
            break
        parts.append(str(part))
        value = cast("Mapping[Any, object]", value)[part]
    return ".".join(parts)
