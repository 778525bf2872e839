"""The models of LiteLLM and any-llm: the SDK's adapters, imported when a model is asked for.

Both reach other vendors in the shape of OpenAI's chat completions.
"""

import os
import pkgutil
import sys
from dataclasses import dataclass, field
from typing import cast

from agents import Model, ModelProvider

from timestep.answer.defaults import ModelDefaults
from timestep.errors import ConfigurationError, UnknownModelError
from timestep.net.extras import install_hint

_ADAPTERS = {
    "litellm": "agents.extensions.models.litellm_model:LitellmModel",
    "any-llm": "agents.extensions.models.any_llm_model:AnyLLMModel",
}


@dataclass(frozen=True)
class GatewayProvider(ModelProvider):
    """Models by a gateway's own names, such as ``anthropic/claude-sonnet-4-5``.

    Attributes:
        gateway: ``"litellm"`` or ``"any-llm"``; also the extra that installs it.
        api_key: The key to send; the gateway's own variables count when unset.
        base_url: The API to ask; the gateway chooses when unset.
        defaults: Settings for what a call leaves out.
    """

    gateway: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    defaults: ModelDefaults = field(default_factory=ModelDefaults)

    def get_model(self, model_name: str | None) -> Model:
        """Return the model *model_name*.

        Raises:
            ConfigurationError: The gateway's package is not installed.
            UnknownModelError: There is no name.
        """
        if not model_name:
            raise UnknownModelError("This provider has no default model; name one.")
        # Else the import of LiteLLM fetches a list of prices.
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        try:
            adapter = pkgutil.resolve_name(_ADAPTERS[self.gateway])
        except ImportError as exc:
            raise ConfigurationError(
                f"Models of {self.gateway} need the package {exc.name or self.gateway}. "
                f"{install_hint(self.gateway)}"
            ) from exc
        if (litellm := sys.modules.get("litellm")) is not None:
            vars(litellm)["suppress_debug_info"] = True  # it prints advice when a request fails
        model = adapter(model_name, base_url=self.base_url, api_key=self.api_key)
        return self.defaults.of(cast("Model", model), model_name)
