"""Default settings of models, for what the caller leaves out."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agents import Model, ModelResponse, ModelRetryAdvice, ModelRetryAdviceRequest, ModelSettings
from agents.items import TResponseStreamEvent

from timestep.answer.model_settings import WrongSettingError, read_model_settings
from timestep.errors import ConfigurationError
from timestep.net.model_names import by_model, tagged


def without_implicit(settings: ModelSettings) -> ModelSettings:
    """Return *settings* without those that the SDK adds to an agent that names no model.

    They are meant for OpenAI's default model, not for the configured one.
    """
    reasoning = settings.reasoning
    is_implicit = (
        settings.verbosity == "low"
        and reasoning is not None
        and reasoning.effort == "none"
        and reasoning.model_fields_set <= {"effort"}
    )
    return replace(settings, reasoning=None, verbosity=None) if is_implicit else settings


class DefaultedModel(Model):
    """The model *asked*, with default *settings*. The settings of a call win.

    Args:
        asked: The model.
        settings: The defaults.
        implicit: Used instead of the settings that the SDK adds to an agent that names no model.
    """

    def __init__(
        self, asked: Model, settings: ModelSettings, *, implicit: ModelSettings | None = None
    ) -> None:
        self.asked = asked
        self.settings = settings
        self._implicit = implicit

    @property
    def model(self) -> str:
        """The name the server knows the model by."""
        return str(getattr(self.asked, "model", ""))

    @property
    def unwrapped(self) -> Model:
        """The model inside all wrappers of default settings."""
        return self.asked.unwrapped if isinstance(self.asked, DefaultedModel) else self.asked

    def _filled(self, own: ModelSettings) -> ModelSettings:
        if self._implicit is not None and (chosen := without_implicit(own)) is not own:
            own = self._implicit.resolve(chosen)
        settings = self.settings.resolve(own)
        if self.settings.extra_headers and own.extra_headers:
            both = {**self.settings.extra_headers, **own.extra_headers}
            settings = replace(settings, extra_headers=both)
        return settings

    async def close(self) -> None:
        """Close the model."""
        await self.asked.close()

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """Return the advice of the model."""
        return self.asked.get_retry_advice(request)

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        *others: Any,
        **state: Any,
    ) -> ModelResponse:
        """Return the answer of the model."""
        filled = self._filled(model_settings)
        answer = self.asked.get_response(system_instructions, input, filled, *others, **state)
        del model_settings, filled  # a crash report shows variables, and headers may hold a key
        return await answer

    def stream_response(
        self,
        system_instructions: str | None,
        input: Any,  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        *others: Any,
        **state: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Return the events of the model."""
        settings = self._filled(model_settings)
        return self.asked.stream_response(system_instructions, input, settings, *others, **state)


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """The default settings of a provider's models."""

    every: ModelSettings = field(default_factory=ModelSettings)  # for every model
    # By model, as `timestep.net.model_names.tagged` spells it; they win over *every*.
    models: Mapping[str, ModelSettings] = field(default_factory=dict[str, ModelSettings])
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Spell the names alike."""
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
