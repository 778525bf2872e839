"""Asks a model of the SDK with what a provider's table says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents import Model, ModelSettings
from openai import Omit

from timestep.answer.default_settings import ModelDefaults
from timestep.answer.defaulted_model import DefaultedModel
from timestep.net.encoding import encode
from timestep.openai.request import added_fields, fields_of
from timestep.openai.whole_calls import with_whole_calls

_NOT_SENT = {"timeout"}
"""Arguments of openai's client that do not go into the body."""


def with_defaults(model: Model, name: str | None, defaults: ModelDefaults) -> Model:
    """Return the SDK's *model*, asked with *defaults* for *name*; *model* itself without any.

    Either runs no half call.
    """
    model = with_whole_calls(model)
    settings, extra_body = defaults.settings_of(name), defaults.extra_body
    if settings == ModelSettings() and not extra_body:
        return model
    return _SdkModel(model, settings, extra_body)


class _SdkModel(DefaultedModel):
    """*asked*, with *settings* and fields of the body where a call leaves them out."""

    def __init__(
        self, asked: Model, settings: ModelSettings, extra_body: Mapping[str, Any]
    ) -> None:
        super().__init__(asked, settings)
        self._extra_body = extra_body

    def _filled(self, own: ModelSettings) -> ModelSettings:
        settings = super()._filled(own)
        extra = _sendable(settings.extra_body, "extra_body")
        _sendable(settings.extra_args, "extra_args")
        return replace(
            settings, extra_body={**added_fields(self._extra_body, settings), **extra} or None
        )


def _sendable(value: object, name: str) -> Mapping[str, Any]:
    """Return *value* of the setting *name*; an empty mapping for None."""
    found = fields_of(value, name)
    sent = {k: v for k, v in found.items() if k not in _NOT_SENT and not isinstance(v, Omit)}
    encode({name: sent})
    return found
