"""The tables of the configuration: each key once, with its type, its default and its description."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, cast

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Secret,
    Tag,
    field_validator,
    model_validator,
)

from timestep.config.types import (
    Account,
    ApiKey,
    ApiUrl,
    ClientCert,
    Concurrency,
    FilePath,
    ForModels,
    Frozen,
    Headers,
    KeepAlive,
    KeyCommandLine,
    Name,
    OllamaHost,
    OllamaModelTable,
    OllamaUrls,
    Options,
    Pattern,
    ProxyUrl,
    Repairs,
    Retries,
    Seconds,
    Target,
    WebsocketUrl,
    freeze,
    read_numbers,
    split_always,
    tag_of,
)
from timestep.net.fallback_rules import FallbackRules
from timestep.net.model_names import by_model, tagged, with_short_names
from timestep.net.setting_values import REPAIRS, RETRIES, Overflow
from timestep.net.timeouts import Timeouts
from timestep.net.urls import LOCAL_OLLAMA, OPENAI_URL, check_secrets_transport
from timestep.routing import check_target, targets


class Section(Frozen, BaseModel, frozen=True):
    """A table of settings. It is frozen, refuses unknown keys, and shows no value in an error."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    _frozen = field_validator("*")(freeze)


class EndpointSettings(Section, frozen=True):
    """The keys that every table of a server or a gateway has."""

    api_key: ApiKey = None
    """The API key."""
    api_key_command: KeyCommandLine | None = Field(
        default=None, examples=[["pass", "show", "api-key"]]
    )
    """The program and arguments that print the API key, instead of api_key. It runs without a shell when a key is needed, and again when the server refuses the key."""
    base_url: str | list[str] | None = None
    allow_insecure: bool = False
    """Allow the API key to travel over plain http to another machine."""
    headers: Headers = Field(
        default_factory=dict, repr=False, examples=[{"X-Title": "my application"}]
    )
    """More headers for every request."""
    settings: dict[str, Any] = Field(default_factory=dict, examples=[{"temperature": 0.2}])
    """Settings for every model, named as in agents.ModelSettings. An agent's own settings win."""
    models: dict[str, dict[str, Any]] = Field(
        default_factory=dict, examples=[{"gpt-5-mini": {"reasoning": {"effort": "low"}}}]
    )
    """Settings by model name. They win over settings."""


def check_transport(section: EndpointSettings) -> EndpointSettings:
    """Refuse a key, or an ``Authorization`` header, that would travel in the clear."""
    if not section.allow_insecure:
        has_key = section.api_key is not None or section.api_key_command is not None
        if isinstance(section, OllamaSettings) and section.base_url is None:
            has_key = False  # it goes to ollama.com alone
        for url in _urls(section):
            check_secrets_transport(url, has_key=has_key, headers=section.headers)
    return section


def _urls(section: EndpointSettings) -> list[str]:
    """Return where *section* sends its headers."""
    if isinstance(section, OllamaSettings):
        return section.servers
    websocket = section.websocket_base_url if isinstance(section, OpenAISettings) else None
    over_http = [f"http{websocket.removeprefix('ws')}"] if websocket else []
    return [*targets(section.base_url or OPENAI_URL), *over_http]


class ServerSettings(Section, frozen=True):
    """The keys of every server that timestep itself asks."""

    max_concurrency: Concurrency | None = Field(default=None, examples=[4])
    """How many requests a server gets from this process at once. The others wait their turn."""
    text_calls: ForModels = Field(default=False, examples=[["llama3.2"]])
    """Treat an answer that is only the JSON of a tool call as that call: for every model, or for a list of models."""
    think_tags: ForModels = Field(default=False, examples=[["deepseek-r1"]])
    """Treat <think>…</think> at the start of an answer as thinking: for every model, or for a list of models."""
    repairs: Repairs = REPAIRS
    """How many times a model is asked again when its answer is not the call or the JSON that was asked for."""
    ca_file: FilePath | None = Field(default=None, examples=["/etc/ssl/company.pem"])
    """A PEM file of certificates to trust in addition to the usual ones."""
    client_cert: ClientCert | None = Field(default=None, examples=["/etc/ssl/me.pem"])
    """The client certificate: one PEM file that also has its key, or a list of the certificate's file and the key's."""
    proxy: ProxyUrl = Field(default=None, examples=["http://proxy.example:3128"])
    """The proxy to use instead of the one in HTTPS_PROXY and similar variables. This machine is never reached through a proxy."""


class _OpenAIFields(EndpointSettings, frozen=True):
    base_url: ApiUrl | None = Field(default=None, examples=[OPENAI_URL])
    """The base URL of the API. Without it, OpenAI's own."""
    organization: Account | None = Field(default=None, examples=["org-example"])
    """The organization sent with every request."""
    project: Account | None = Field(default=None, examples=["proj_example"])
    """The project sent with every request."""
    timeout: Seconds | None = Field(default=None, examples=[120])
    """How many seconds to wait for the server. Without it, the client's own limits count."""
    max_retries: Retries = RETRIES
    """How many times a request is sent again after a temporary failure."""
    query: dict[str, str] = Field(
        default_factory=dict, examples=[{"api-version": "2025-04-01-preview"}]
    )
    """Fields added to the URL of every request."""
    extra_body: dict[str, Any] = Field(default_factory=dict, examples=[{"top_k": 40}])
    """Fields added to the body of every request. The settings of a call win."""
    adapter: Literal["timestep", "sdk"] = "timestep"
    """Which model class sends chat completions to servers other than OpenAI: timestep's or the SDK's. The SDK's takes what timestep's refuses, such as audio."""
    structured_output: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    """How chat completions ask for a typed answer: by its schema, as any JSON object, or in words alone."""
    include_usage: bool = True
    """Ask for token counts in streamed chat completions."""


class OpenAISettings(ServerSettings, _OpenAIFields, frozen=True):
    """OpenAI's API, or a server in its place, for every name without a prefix."""

    api: Literal["responses", "chat_completions"] = "responses"
    """The API that requests go to."""
    websocket_base_url: WebsocketUrl | None = Field(
        default=None, examples=["wss://api.openai.com/v1"]
    )
    """The base URL for the websocket transport. Without it, it is made from base_url."""
    prefix_mode: Literal["alias", "model_id"] = "alias"
    """What openai/ in front of a name is: a prefix that is cut off, or a part of the name."""
    unknown_prefix_mode: Literal["error", "model_id"] = "error"
    """What a name with an unknown prefix is: an error, or a name that this server knows."""

    _transport = model_validator(mode="after")(check_transport)


Timeout: TypeAlias = Annotated[
    Annotated[Seconds, Tag(":name")]
    | Annotated[Timeouts, BeforeValidator(read_numbers), Tag(":table")],
    Discriminator(tag_of),
]


class _OllamaFields(EndpointSettings, frozen=True):
    api_key: ApiKey = None
    """The API key. Without base_url it goes to ollama.com only."""
    base_url: OllamaUrls | None = Field(default=None, examples=["http://localhost:11434"])
    """The server for every model, cloud names too, or a list of servers that share the requests. Without it, local names go to host and cloud names to ollama.com."""
    host: OllamaHost | None = Field(default=None, examples=["localhost:11434"])
    """The local server in a form that Ollama accepts: host, host:port, :port or a URL."""
    options: Options = Field(default_factory=dict, examples=[{"num_ctx": 16384}])
    """Model options for every model, such as num_ctx."""
    models: dict[str, OllamaModelTable] = Field(
        default_factory=dict,
        examples=[{"llama3.2": {"num_ctx": 32768, "settings": {"temperature": 0.2}}}],
    )
    """Model options by model name. They are merged over options. The settings of a name win over settings."""
    keep_alive: KeepAlive | None = Field(default=None, examples=["10m"])
    """How long a model stays loaded: a duration, a number of seconds, or -1 for ever."""
    timeout: Timeout | None = Field(default=None, examples=[120])
    """How many seconds of silence to wait: a number, or a table of connect, first_byte and idle."""
    on_context_overflow: Overflow = "error"
    """What happens when a prompt does not fit the context window."""
    strict_feature_validation: bool = False
    """Raise an error for what Ollama cannot do, instead of warning once."""
    tool_emulation: bool = False
    """Describe tools in the prompt to models without tool support."""
    allow_remote_images: bool = False
    """Fetch images that a request names by URL."""


class OllamaSettings(ServerSettings, _OllamaFields, frozen=True):
    """Ollama, local and cloud: every name that begins with ``ollama/``."""

    think_tags: ForModels = Field(default=False, examples=[["deepseek-r1"]])
    """Treat <think>…</think> at the start of an answer as thinking: for every model that the server does not list as thinking, or for a list of models."""

    @property
    def servers(self) -> list[str]:
        """The servers of the local models. Several share the requests."""
        return targets(self.base_url or self.host or LOCAL_OLLAMA)

    @property
    def options_by_model(self) -> dict[str, dict[str, Any]]:
        """The options in ``models``, without the settings there."""
        return {
            name: {option: value for option, value in table.items() if option != "settings"}
            for name, table in self.models.items()
        }

    def options_of(self, name: str, prefix: str) -> dict[str, Any]:
        """Return the options for the model *name* of the provider *prefix*."""
        own = by_model(with_short_names(self.options_by_model, prefix))
        return {**self.options, **own.get(tagged(name), {})}

    @property
    def settings_by_model(self) -> dict[str, dict[str, Any]]:
        """The settings in ``models``."""
        return {name: table.get("settings", {}) for name, table in self.models.items()}


class ProviderSettings(Section, frozen=True):
    """The base of every table ``[providers.NAME]``. `timestep.config.kinds` lists the kinds."""

    kind: str
    """What the provider is."""


class OpenAIProviderSettings(ServerSettings, _OpenAIFields, ProviderSettings, frozen=True):
    """Any server that speaks OpenAI's API, under a prefix of its own."""

    kind: Literal["openai"]
    """What the provider is."""
    base_url: ApiUrl = Field(examples=["https://api.groq.com/openai/v1"])
    """The base URL of the API."""
    api: Literal["responses", "chat_completions"] = "chat_completions"
    """The API that requests go to."""

    _transport = model_validator(mode="after")(check_transport)


class OllamaProviderSettings(OllamaSettings, ProviderSettings, frozen=True):
    """One more Ollama, under a prefix of its own."""

    kind: Literal["ollama"]
    """What the provider is."""

    _transport = model_validator(mode="after")(check_transport)


class GatewaySettings(EndpointSettings, ProviderSettings, frozen=True):
    """The keys that LiteLLM and any-llm share."""

    api_key: ApiKey = None
    """The API key. Without it, the gateway reads its own variables."""
    base_url: ApiUrl | None = Field(default=None, examples=["https://example.com/v1"])
    """The base URL of the API. Without it, the gateway chooses."""

    _transport = model_validator(mode="after")(check_transport)


class LiteLLMProviderSettings(GatewaySettings, frozen=True):
    """LiteLLM; names are LiteLLM's own, such as ``anthropic/claude-sonnet-4-5``."""

    kind: Literal["litellm"]
    """What the provider is."""
    api_version: Name | None = Field(default=None, examples=["2024-10-21"])
    """The version of Azure's API."""


class AnyLLMProviderSettings(GatewaySettings, frozen=True):
    """any-llm; names are any-llm's own, such as ``mistral/mistral-small-latest``."""

    kind: Literal["any-llm"]
    """What the provider is."""


_Hidden: TypeAlias = Secret[Annotated[Any, AfterValidator(freeze)]]


class PluginProviderSettings(ProviderSettings, frozen=True):
    """A kind from an entry point in ``timestep.providers``; the plug-in reads its own keys."""

    model_config = ConfigDict(extra="allow")
    # Only the plug-in knows which of its keys are secret, so all of them are.
    __pydantic_extra__: dict[str, _Hidden] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride] - pydantic's way to type extra keys

    kind: str
    """The name of the entry point."""

    @property
    def keys_of_plugin(self) -> Mapping[str, Secret[Any]]:
        """The keys beside ``kind``, with hidden values."""
        return MappingProxyType(self.__pydantic_extra__)


class AliasSettings(Section, frozen=True):
    """A name for a model with settings."""

    model: Target = Field(examples=["gpt-5"])
    """The model, or a list of models; the next one is asked when one cannot answer."""
    settings: dict[str, Any] = Field(
        default_factory=dict, examples=[{"reasoning": {"effort": "high"}}]
    )
    """Settings for these models, named as in agents.ModelSettings. An agent's own settings win."""


Alias: TypeAlias = Annotated[
    Annotated[Name, Tag(":name")]
    | Annotated[list[Name], Field(min_length=1), Tag(":list")]
    | Annotated[AliasSettings, Tag(":table")],
    Discriminator(tag_of),
    BeforeValidator(lambda value: value if tag_of(value) == ":table" else check_target(value)),
]


class TracesSettings(Section, frozen=True):
    """The record of what agents did, kept on this machine."""

    enabled: bool = True
    """Record what the commands run."""
    path: FilePath | None = Field(default=None, examples=["~/.local/share/timestep/traces.db"])
    """The file of the record. Without it, traces.db in the user's data directory."""
    retention: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30
    """Days after which a run is deleted; 0 keeps all."""
    redact: list[Pattern] = Field(default_factory=list, examples=[[r"\d{4} \d{4} \d{4} \d{4}"]])
    """Regular expressions. What they match is never stored. Keys never are."""
    otlp: ApiUrl | None = Field(default=None, examples=["http://localhost:4318"])
    """An OTLP/HTTP receiver that gets every span too. It needs the extra otel."""

    @property
    def file(self) -> Path:
        """The file of the record, absolute."""
        path = self.path or platformdirs.user_data_path("timestep") / "traces.db"
        return path.expanduser().absolute()


AnyOpenAISettings: TypeAlias = OpenAISettings | OpenAIProviderSettings


def _read_rules(table: object) -> object:
    """Return the rules of chains, with the numbers and the list in the text of variables read."""
    read = read_numbers(table)
    if not isinstance(read, Mapping):
        return read
    rules = dict(cast("Mapping[str, object]", read))
    return {**rules, "on": split_always(rules["on"])} if "on" in rules else rules


Fallback: TypeAlias = Annotated[FallbackRules, BeforeValidator(_read_rules)]
