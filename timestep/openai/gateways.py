"""The models of LiteLLM and any-llm: the SDK's adapters, imported when a model is asked for.

Both reach other vendors in the shape of OpenAI's chat completions.
"""

import os
import pkgutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents import (
    Model,
    ModelProvider,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelSettings,
)
from agents.items import TResponseStreamEvent

from timestep.answer.default_settings import ModelDefaults
from timestep.errors import ConfigurationError, UnknownModelError
from timestep.net.extras import install_hint
from timestep.net.key_command import KeyCommand
from timestep.net.secrets import Unshown, secrets_in
from timestep.openai.whole_calls import with_whole_calls

_ADAPTERS = {
    "litellm": "agents.extensions.models.litellm_model:LitellmModel",
    "any-llm": "agents.extensions.models.any_llm_model:AnyLLMModel",
}


@dataclass(frozen=True)
class GatewayProvider(ModelProvider):
    """Models by a gateway's own names, such as ``anthropic/claude-sonnet-4-5``."""

    gateway: str  # `"litellm"` or `"any-llm"`; also the extra that installs it
    # The key to send; the gateway's own variables count when unset.
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None  # the API to ask; the gateway chooses when unset
    defaults: ModelDefaults = field(default_factory=ModelDefaults)  # for what a call leaves out
    # Sent with every request, as far as the gateway's adapter for the vendor sends any.
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    api_version: str | None = None  # Azure's version of its API, for LiteLLM
    key_command: KeyCommand | None = None  # prints the key, instead of *api_key*

    def get_model(self, model_name: str | None) -> Model:
        """Return the model *model_name*.

        Raises:
            ConfigurationError: The gateway's package is not installed.
            UnknownModelError: There is no name.
        """
        if not model_name:
            raise UnknownModelError.for_no_name()
        adapter = self._adapter()

        def made(api_key: str | None) -> Model:
            model: Model = adapter(model_name, base_url=self.base_url, api_key=api_key)
            sent = {**self.headers, "authorization": api_key or ""}
            return with_whole_calls(model, secrets_in(sent))

        command = self.key_command
        model = made(self.api_key) if command is None else _KeyedModel(model_name, made, command)
        sent = ModelSettings(
            extra_headers=dict(self.headers) or None,
            extra_args={"api_version": self.api_version} if self.api_version else None,
        )
        return ModelDefaults(sent.resolve(self.defaults.settings_of(model_name))).of(model, None)

    def _adapter(self) -> Callable[..., Any]:
        """Return the SDK's class for models of the gateway."""
        # Else the import of LiteLLM fetches a list of prices.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        try:
            adapter: Callable[..., Any] = pkgutil.resolve_name(_ADAPTERS[self.gateway])
        except ImportError as exc:
            raise ConfigurationError(
                f"Models of {self.gateway} need the package {exc.name or self.gateway}. "
                f"{install_hint(self.gateway)}"
            ) from exc
        if (litellm := sys.modules.get("litellm")) is not None:
            vars(litellm)["suppress_debug_info"] = True  # it prints advice when a request fails
        return adapter


class _KeyedModel(Model):
    """A gateway's model whose key a command prints, and prints again when the vendor refuses it."""

    def __init__(self, model: str, made: Callable[..., Model], command: KeyCommand) -> None:
        self.model = self.traced_as = model
        self._made = made
        self._command = command
        self._models: dict[Unshown[str], Model] = {}
        """By key: the model of the newest one, and that of the one before, which may be at work."""

    async def _with_key(self) -> tuple[Unshown[str], Model]:
        key = Unshown(await self._command.key())
        if (model := self._models.get(key)) is None:
            model = self._models[key] = self._made(key.value)
            vars(model)["traced_as"] = self.traced_as
            if len(self._models) > 2:  # noqa: PLR2004 - see above
                await self._models.pop(next(iter(self._models))).close()
        return key, model

    async def _with_next_key(self, key: Unshown[str], exc: Exception) -> Model:
        """Run the key command again and return the model with the new key; raise *exc* if it is not a 401."""
        if getattr(exc, "status_code", None) != 401:  # noqa: PLR2004 - HTTP's own number
            raise exc
        self._command.forget(key.value)
        return (await self._with_key())[1]

    async def get_response(self, *call: Any, **state: Any) -> ModelResponse:
        """Return the answer of the gateway's model."""
        try:
            key, model = await self._with_key()
            try:
                return await model.get_response(*call, **state)
            except Exception as exc:  # noqa: BLE001 - every vendor's package has its own
                model = await self._with_next_key(key, exc)
            return await model.get_response(*call, **state)
        finally:
            del call, state  # a crash report shows variables, and headers may hold a key

    async def stream_response(
        self, *call: Any, **state: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Yield the events of the gateway's model."""
        has_begun = False
        try:
            key, model = await self._with_key()
            try:
                async for event in model.stream_response(*call, **state):
                    has_begun = True
                    yield event
            except Exception as exc:
                if has_begun:
                    raise
                model = await self._with_next_key(key, exc)
            else:
                return
            async for event in model.stream_response(*call, **state):
                yield event
        finally:
            del call, state  # as above

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """Return the advice of the gateway's model."""
        advice = (model.get_retry_advice(request) for model in self._models.values())
        return next((found for found in advice if found is not None), None)

    async def close(self) -> None:
        """Close the gateway's models."""
        while self._models:
            await self._models.popitem()[1].close()
