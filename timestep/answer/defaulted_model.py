"""A model that is asked with default settings, where the caller leaves them out."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from agents import Model, ModelResponse, ModelRetryAdvice, ModelRetryAdviceRequest, ModelSettings
from agents.items import TResponseStreamEvent


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
