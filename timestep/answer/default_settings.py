"""The default settings of a provider's models."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents import Model, ModelSettings

from timestep.answer.defaulted_model import DefaultedModel
from timestep.answer.model_settings import WrongSettingError, read_model_settings
from timestep.errors import ConfigurationError
from timestep.net.model_names import by_model, tagged


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """The default settings of a provider's models."""

    every: ModelSettings = field(default_factory=ModelSettings)  # for every model
    # By model, as `timestep.net.model_names.tagged` spells it; they win over *every*.
    models: Mapping[str, ModelSettings] = field(default_factory=dict[str, ModelSettings])
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Write every name in the same form."""
        object.__setattr__(self, "models", by_model(self.models))

    def settings_of(self, name: str | None) -> ModelSettings:
        """Return the settings for the model *name*."""
        return self.every.resolve(self.models.get(tagged(name or "")))

    def of(self, model: Model, name: str | None) -> Model:
        """Return *model* with the settings for *name*; *model* itself without any."""
        settings = self.settings_of(name)
        return model if settings == ModelSettings() else DefaultedModel(model, settings)


_ELSEWHERE = {
    # They may be secret, and these settings are shown.
    "extra_headers": "write them as headers of the provider",
    # The Runner reads it before a model is asked.
    "retry": "write it in the settings of an agent or of a run; nothing reads it here",
    # The Runner resets an agent's after the first call; a default would force a call every time.
    "tool_choice": "write it in the settings of an agent or of a run; as a default it would force a tool call in every turn",
}
"""Settings that cannot be defaults, with what to do instead."""


class SettingError(ConfigurationError):
    """A default setting cannot be used."""

    key = ""  # its dotted key


def read_settings(where: str, table: Mapping[str, Any]) -> ModelSettings:
    """Return the settings in *table*, which is at *where* in the configuration."""
    for name in table.keys() & _ELSEWHERE.keys():
        raise _wrong(f"{where}.{name}", _ELSEWHERE[name])
    try:
        return read_model_settings(table)
    except WrongSettingError as exc:
        raise _wrong(f"{where}.{exc.path}", str(exc)) from None


def _wrong(key: str, said: str) -> SettingError:
    error = SettingError(f"{key}: {said}")
    error.key = key
    return error
