"""The models of LiteLLM and any-llm: the SDK's adapters, imported when a model is asked for."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents import Model, ModelProvider

from timestep.errors import ConfigurationError, UnknownModelError


@dataclass(frozen=True)
class LiteLLMModelProvider(ModelProvider):
    """Models by LiteLLM's names; without key and URL LiteLLM's own variables count."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None

    def get_model(self, model_name: str | None) -> Model:
        """The model *model_name*.

        Raises:
            ConfigurationError: The package is not installed.
            UnknownModelError: There is no name.
        """
        name = _named(model_name)
        with _extra("litellm"):
            from agents.extensions.models.litellm_model import LitellmModel  # noqa: PLC0415 - optional
        return LitellmModel(name, base_url=self.base_url, api_key=self.api_key)


@dataclass(frozen=True)
class AnyLLMModelProvider(ModelProvider):
    """Models by any-llm's names; without key and URL any-llm's own variables count."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None

    def get_model(self, model_name: str | None) -> Model:
        """The model *model_name*.

        Raises:
            ConfigurationError: The package is not installed.
            UnknownModelError: There is no name.
        """
        name = _named(model_name)
        with _extra("any-llm"):
            from agents.extensions.models.any_llm_model import AnyLLMModel  # noqa: PLC0415 - optional
        return AnyLLMModel(name, base_url=self.base_url, api_key=self.api_key)


@contextmanager
def _extra(name: str) -> Generator[None]:
    try:
        yield
    except ImportError as exc:
        raise ConfigurationError(
            f"models of {name} need a package that is missing ({exc.name or name}); install it with "
            f"pip install 'timestep[{name}]'"
        ) from exc


def _named(model_name: str | None) -> str:
    if not model_name:
        raise UnknownModelError("this provider has no default model; name one")
    return model_name
