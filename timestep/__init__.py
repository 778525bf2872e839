"""Run OpenAI Agents SDK agents on any model, chosen by configuration.

Names are imported on first use, so that ``import timestep`` costs nothing:
``agents``, ``openai`` and ``ollama`` load only when an application needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timestep.config.settings import Settings, load_settings
    from timestep.errors import (
        AllModelsFailedError,
        AuthenticationError,
        BrokenAnswerError,
        CapabilityError,
        ConfigurationError,
        ContextWindowExceededError,
        ModelNotFoundError,
        ModelOutputError,
        OllamaConnectionError,
        OllamaError,
        OllamaStatusError,
        OllamaStreamError,
        OllamaTimeoutError,
        RateLimitError,
        ServerBusyError,
        TimestepError,
        UnknownModelError,
        UnsupportedInputError,
    )
    from timestep.fallback.model import FallbackModel
    from timestep.net.fallback_rules import FallbackRules
    from timestep.net.secrets import configured_keys
    from timestep.net.version import __version__ as __version__
    from timestep.ollama.model import OllamaModel
    from timestep.ollama.provider import OllamaModelProvider
    from timestep.registry import MultiModelProvider, MultiModelProviderMap, build_provider

_HOME = {
    "__version__": "timestep.net.version",
    "FallbackModel": "timestep.fallback.model",
    "FallbackRules": "timestep.net.fallback_rules",
    "MultiModelProvider": "timestep.registry",
    "MultiModelProviderMap": "timestep.registry",
    "OllamaModel": "timestep.ollama.model",
    "OllamaModelProvider": "timestep.ollama.provider",
    "Settings": "timestep.config.settings",
    "build_provider": "timestep.registry",
    "configured_keys": "timestep.net.secrets",
    "load_settings": "timestep.config.settings",
}

__all__ = [
    "AllModelsFailedError",
    "AuthenticationError",
    "BrokenAnswerError",
    "CapabilityError",
    "ConfigurationError",
    "ContextWindowExceededError",
    "FallbackModel",
    "FallbackRules",
    "ModelNotFoundError",
    "ModelOutputError",
    "MultiModelProvider",
    "MultiModelProviderMap",
    "OllamaConnectionError",
    "OllamaError",
    "OllamaModel",
    "OllamaModelProvider",
    "OllamaStatusError",
    "OllamaStreamError",
    "OllamaTimeoutError",
    "RateLimitError",
    "ServerBusyError",
    "Settings",
    "TimestepError",
    "UnknownModelError",
    "UnsupportedInputError",
    "build_provider",
    "configured_keys",
    "load_settings",
]


def __getattr__(name: str) -> object:
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "timestep.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
