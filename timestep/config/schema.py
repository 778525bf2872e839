"""The tables that a configuration may have: what each key is, and what it is without one."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, cast

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Secret,
    Tag,
    field_validator,
    model_validator,
)

from timestep.config.frozen import Frozen, freeze
from timestep.config.types import (
    ApiKey,
    ApiUrl,
    FilePath,
    Headers,
    KeepAlive,
    Name,
    OllamaHost,
    OllamaUrls,
    Options,
    Pattern,
    Reasons,
    Seconds,
)
from timestep.net.urls import check_key_transport
from timestep.routing import USUAL_REASONS, targets

OPENAI_URL = "https://api.openai.com/v1"
PROVIDER_PLUGINS = "timestep.providers"
"""The entry-point group for more provider kinds.

The entry point's name is the kind. It names a callable that takes the provider's table as a
mapping (without ``kind``, secrets revealed) and returns an ``agents.ModelProvider``.
"""


class Section(Frozen, BaseModel):
    """A table of settings: frozen, unknown keys refused, no input in its errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    _frozen = field_validator("*")(freeze)


def _check_transport(section: "AnyEndpoint") -> "AnyEndpoint":
    if section.api_key and section.base_url and not section.allow_insecure:
        for url in targets(section.base_url):
            check_key_transport(url)
    return section


class _OpenAIFields(Section):
    api_key: ApiKey = None
    """The API key."""
    organization: Name | None = Field(default=None, examples=["org-example"])
    """The organization sent with every request."""
    project: Name | None = Field(default=None, examples=["proj_example"])
    """The project sent with every request."""
    headers: Headers = Field(
        default_factory=dict, repr=False, examples=[{"X-Title": "my application"}]
    )
    """More headers for every request."""
    timeout: Seconds | None = Field(default=None, examples=[120])
    """Seconds to wait for the server; the client's own limits when unset."""
    allow_insecure: bool = False
    """Let the API key travel over plain http to another machine."""


class OpenAISettings(_OpenAIFields):
    """The OpenAI API, or the server that stands in for it: every name without a prefix."""

    base_url: ApiUrl | None = Field(default=None, examples=[OPENAI_URL])
    """The base URL of the API; OpenAI's own when unset."""
    api: Literal["responses", "chat_completions"] = "responses"
    """The API that requests go to."""

    _transport = model_validator(mode="after")(_check_transport)


class OllamaTimeouts(Section):
    """The limits on silence from Ollama, each in seconds."""

    connect: Seconds | None = Field(default=None, examples=[5])
    """Seconds to wait for a connection."""
    first_byte: Seconds | None = Field(default=None, examples=[300])
    """Seconds to wait for the first byte of an answer; loading a model counts."""
    idle: Seconds | None = Field(default=None, examples=[120])
    """Seconds to wait between two pieces of an answer."""


def _tag_of_timeout(value: object) -> str:
    return ":table" if isinstance(value, Mapping | OllamaTimeouts) else ":seconds"


Timeout: TypeAlias = Annotated[
    Annotated[Seconds, Tag(":seconds")] | Annotated[OllamaTimeouts, Tag(":table")],
    Discriminator(_tag_of_timeout),
]


class OllamaSettings(Section):
    """Ollama, local and cloud: every name that begins with ``ollama/``."""

    api_key: ApiKey = None
    """The API key; without base_url it goes to ollama.com only."""
    base_url: OllamaUrls | None = Field(default=None, examples=["http://localhost:11434"])
    """The server for every model, cloud names too, or a list of servers that share the requests; unset, local names go to host and cloud names to ollama.com."""
    host: OllamaHost | None = Field(default=None, examples=["localhost:11434"])
    """The local server as Ollama itself writes it: host, host:port, :port or a URL."""
    options: Options = Field(default_factory=dict, examples=[{"num_ctx": 16384}])
    """Model options such as num_ctx, for every model."""
    models: dict[str, Options] = Field(
        default_factory=dict, examples=[{"llama3.2": {"num_ctx": 32768}}]
    )
    """Model options by model name; they merge over options."""
    keep_alive: KeepAlive | None = Field(default=None, examples=["10m"])
    """How long a model stays loaded: a duration, seconds as a number, or -1 for ever."""
    timeout: Timeout | None = Field(default=None, examples=[120])
    """Seconds of silence: a number, or a table of connect, first_byte and idle."""
    on_context_overflow: Literal["error", "truncate"] = "error"
    """What happens when a prompt does not fit the context window."""
    strict_feature_validation: bool = False
    """Raise for what Ollama cannot do, instead of warning once."""
    tool_emulation: bool = False
    """Offer tools by prompt to models that have no tools of their own."""
    allow_remote_images: bool = False
    """Fetch images that a request names by URL."""
    allow_insecure: bool = False
    """Let the API key travel over plain http to another machine."""
    headers: Headers = Field(
        default_factory=dict, repr=False, examples=[{"X-Title": "my application"}]
    )
    """More headers for every request."""


class OpenAIProviderSettings(_OpenAIFields):
    """Any server that speaks OpenAI's API, under a prefix of its own."""

    kind: Literal["openai"]
    """What the provider is."""
    base_url: ApiUrl = Field(examples=["https://api.groq.com/openai/v1"])
    """The base URL of the API."""
    api: Literal["responses", "chat_completions"] = "chat_completions"
    """The API that requests go to."""

    _transport = model_validator(mode="after")(_check_transport)


class OllamaProviderSettings(OllamaSettings):
    """One more Ollama, under a prefix of its own."""

    kind: Literal["ollama"]
    """What the provider is."""

    _transport = model_validator(mode="after")(_check_transport)


class LiteLLMProviderSettings(Section):
    """LiteLLM; names are LiteLLM's own, such as ``anthropic/claude-sonnet-4-5``."""

    kind: Literal["litellm"]
    """What the provider is."""
    api_key: ApiKey = None
    """The API key; the variables of the gateway when unset."""
    base_url: ApiUrl | None = Field(default=None, examples=["https://example.com/v1"])
    """The base URL of the API; the choice of the gateway when unset."""


class AnyLLMProviderSettings(Section):
    """any-llm; names are any-llm's own, such as ``mistral/mistral-small-latest``."""

    kind: Literal["any-llm"]
    """What the provider is."""
    api_key: ApiKey = None
    """The API key; the variables of the gateway when unset."""
    base_url: ApiUrl | None = Field(default=None, examples=["https://example.com/v1"])
    """The base URL of the API; the choice of the gateway when unset."""


_Hidden: TypeAlias = Secret[Annotated[Any, AfterValidator(freeze)]]


class PluginProviderSettings(Section):
    """A kind from an entry point in ``timestep.providers``; the plug-in reads its own keys."""

    model_config = ConfigDict(extra="allow")
    # Nobody here knows which of a plug-in's keys are secret, so all of them are.
    __pydantic_extra__: dict[str, _Hidden] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride] - pydantic's way to type extra keys

    kind: str
    """The name of the entry point."""

    @property
    def keys_of_plugin(self) -> Mapping[str, Secret[Any]]:
        """The keys besides ``kind``, with their values hidden."""
        return MappingProxyType(self.__pydantic_extra__)


class TracesSettings(Section):
    """The record of what agents did, kept on this machine."""

    enabled: bool = True
    """Record what the commands run."""
    path: FilePath | None = Field(default=None, examples=["~/.local/share/timestep/traces.db"])
    """The file of the record; traces.db in the user's data directory when unset."""
    retention: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30
    """Days after which a run is deleted; 0 keeps all."""
    redact: list[Pattern] = Field(default_factory=list, examples=[[r"\d{4} \d{4} \d{4} \d{4}"]])
    """Regular expressions; what they match is never stored. Keys never are."""
    otlp: ApiUrl | None = Field(default=None, examples=["http://localhost:4318"])
    """An OTLP/HTTP receiver that gets every span too; needs timestep[otel]."""

    @property
    def file(self) -> Path:
        """The file of the record, absolute."""
        path = self.path or platformdirs.user_data_path("timestep") / "traces.db"
        return path.expanduser().absolute()


class FallbackSettings(Section):
    """When a list of models, an alias or the default, goes on to its next one."""

    on: Reasons = list(USUAL_REASONS)
    """The failures after which the next model is asked; broken and authentication are left out unless named."""
    attempts: Annotated[int, Field(ge=1)] | None = Field(default=None, examples=[2])
    """How many models one call asks at most; all of the list when unset."""
    cool_down: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 30
    """Seconds for which a model that failed is passed over."""


AnyEndpoint: TypeAlias = OpenAISettings | OpenAIProviderSettings | OllamaProviderSettings

KINDS: dict[str, type[Section]] = {
    "openai": OpenAIProviderSettings,
    "ollama": OllamaProviderSettings,
    "litellm": LiteLLMProviderSettings,
    "any-llm": AnyLLMProviderSettings,
}


def plugin_kinds() -> set[str]:
    """The kinds that installed plug-ins bring; none of them is imported."""
    return {point.name for point in entry_points(group=PROVIDER_PLUGINS)}


def _tag_of_provider(table: object) -> str | None:
    kind = (
        cast("Mapping[str, object]", table).get("kind")
        if isinstance(table, Mapping)
        else getattr(table, "kind", None)
    )
    if not isinstance(kind, str):
        return None
    return ":plugin" if kind not in KINDS and kind in plugin_kinds() else f":{kind}"


ProviderSettings: TypeAlias = Annotated[
    Annotated[OpenAIProviderSettings, Tag(":openai")]
    | Annotated[OllamaProviderSettings, Tag(":ollama")]
    | Annotated[LiteLLMProviderSettings, Tag(":litellm")]
    | Annotated[AnyLLMProviderSettings, Tag(":any-llm")]
    | Annotated[PluginProviderSettings, Tag(":plugin")],
    Discriminator(_tag_of_provider),
]
