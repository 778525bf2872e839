"""The provider of OpenAI's names, a drop-in for the one in `agents.MultiProvider`.

Where requests go, and with which key, comes from the first of these that says so:

1. what was written for timestep: ``[openai]``, ``TIMESTEP_OPENAI__…``, arguments;
2. what the application told the SDK in code, such as `agents.set_default_openai_client`;
3. the variables that the SDK reads too, such as ``OPENAI_BASE_URL``.

As in the SDK, the API and the transport are settled when the provider is built, and the client and
the key when the first model is asked for.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from agents import (
    Model,
    OpenAIAgentRegistrationConfig,
    OpenAIProvider,
    OpenAIResponsesWebSocketOptions,
)
from agents.models import _openai_shared as shared  # pyright: ignore[reportPrivateUsage] - it has setters alone in public
from agents.models import get_default_model
from openai import AsyncOpenAI, not_given

from timestep.answer.default_settings import ModelDefaults
from timestep.errors import ConfigurationError
from timestep.net.headers import has_authorization
from timestep.net.urls import OPENAI_URL
from timestep.openai.checked_client import NO_KEY
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.model import ChatCompletionsModel
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.openai.sdk_models import with_defaults

_WHERE = {"api_key", "api_key_command", "base_url", "organization", "project", "websocket_base_url"}
"""The settings that say which server is asked, and as whom."""


@dataclass(frozen=True, slots=True)
class OpenAIChoices:
    """How the SDK's own models are asked. None leaves a choice to the application, as in the SDK."""

    client: AsyncOpenAI | None = None  # a ready client, instead of an endpoint
    websocket_base_url: str | None = None  # where the websocket is; where HTTP is when None
    use_responses: bool | None = None  # True for the Responses API, False for Chat Completions
    use_websocket: bool | None = None  # True for the Responses API over a websocket
    strict_feature_validation: bool = False  # refuse what only the Responses API can do
    buffer_streamed_tool_calls: bool = False  # hold tool calls back until the stream ends
    # The SDK's registration of agents.
    agent_registration: OpenAIAgentRegistrationConfig | dict[str, Any] | None = None
    # How the websocket is kept alive.
    websocket_options: OpenAIResponsesWebSocketOptions | None = None


class DefaultOpenAIProvider(OpenAIProvider):
    """The models of OpenAI, or of the server that the application or its settings put in its place."""

    def __init__(
        self,
        endpoint: OpenAIEndpoint,  # where the API is, as settings and variables say
        *,
        # The names of the settings that were written for timestep; the others are from variables
        # that the SDK reads too.
        written: AbstractSet[str] = frozenset(),
        written_headers: AbstractSet[str] = frozenset(),  # the headers of *endpoint* among them
        choices: OpenAIChoices | None = None,  # how the SDK's own models are asked
        # How our model for chat completions is asked; None takes the SDK's.
        options: ChatModelOptions | None = None,
        defaults: ModelDefaults | None = None,  # settings for what a call leaves out
    ) -> None:
        choices = choices or OpenAIChoices()
        super().__init__(agent_registration=choices.agent_registration)
        self._endpoint = endpoint
        self._written = written
        self._written_headers = written_headers
        self._choices = replace(
            choices,
            use_responses=_or(choices.use_responses, shared.get_use_responses_by_default),
            use_websocket=_or(
                choices.use_websocket,
                lambda: shared.get_default_openai_responses_transport() == "websocket",
            ),
        )
        self._options = options
        self._defaults = defaults or ModelDefaults()
        self._settled: dict[str, OpenAIProvider] = {}

    def get_model(self, model_name: str | None) -> Model:
        """Return the model *model_name*; the SDK's default model for None.

        Raises:
            OpenAIError: There is no key.
            ConfigurationError: The key would travel in the clear.
        """
        provider = self._provider()
        if isinstance(provider, OpenAICompatibleProvider) and not self._choices.use_responses:
            model_name = model_name or get_default_model()
        model = provider.get_model(model_name)
        if isinstance(model, ChatCompletionsModel):
            return self._defaults.of(model, model_name)
        return with_defaults(model, model_name, self._defaults)

    async def aclose(self) -> None:
        """Close what the models of this event loop opened. Safe to call twice."""
        for provider in list(self._settled.values()):
            await provider.aclose()

    def _provider(self) -> OpenAIProvider:
        if not self._settled:
            self._settled.setdefault("provider", self._settle())  # of two threads the first wins
        return self._settled["provider"]

    def _settle(self) -> OpenAIProvider:
        """Return the provider that the strongest choice leads to."""
        client = self._choices.client
        if client is None and not self._written & _WHERE:
            client = shared.get_default_openai_client()
        if client is not None:
            return self._of_the_sdk(openai_client=self._with_settings(client))
        endpoint = self._endpoint
        is_ours = "api_key" in self._written or endpoint.key_command is not None
        if not is_ours and (key := shared.get_default_openai_key()) is not None:
            endpoint = replace(endpoint, api_key=key)
        if self._choices.use_responses and self._choices.use_websocket:
            return self._of_the_sdk(openai_client=self._websocket_client(endpoint))
        if _is_plain(endpoint) and endpoint.api_key is None:
            return self._of_the_sdk(
                api_key=endpoint.api_key,
                base_url=endpoint.base_url,
                websocket_base_url=self._choices.websocket_base_url,
                organization=endpoint.organization,
                project=endpoint.project,
            )
        return OpenAICompatibleProvider(
            endpoint,
            use_responses=self._choices.use_responses,
            options=self._options,
            strict_feature_validation=self._choices.strict_feature_validation,
            buffer_streamed_tool_calls=self._choices.buffer_streamed_tool_calls,
        )

    def _of_the_sdk(self, **where: Any) -> OpenAIProvider:
        choices = self._choices
        return OpenAIProvider(
            **where,
            use_responses=choices.use_responses,
            use_responses_websocket=choices.use_websocket,
            strict_feature_validation=choices.strict_feature_validation,
            responses_websocket_options=choices.websocket_options,
            buffer_streamed_tool_calls=choices.buffer_streamed_tool_calls,
        )

    def _with_settings(self, client: AsyncOpenAI) -> AsyncOpenAI:
        """Return *client* with what was written for timestep about how it asks, not whom."""
        endpoint, written = self._endpoint, self._written
        changes: dict[str, Any] = {
            name: getattr(endpoint, name) for name in ("timeout", "max_retries") if name in written
        }
        if headers := {name: endpoint.headers[name] for name in self._written_headers}:
            changes["default_headers"] = headers
        if endpoint.query:
            changes["default_query"] = dict(endpoint.query)
        return client.with_options(**changes) if changes else client

    def _websocket_client(self, endpoint: OpenAIEndpoint) -> AsyncOpenAI:
        if endpoint.key_command is not None:
            raise ConfigurationError(
                "api_key_command does not work over a websocket; set api_key, or leave the "
                "websocket transport out."
            )
        return AsyncOpenAI(
            api_key=endpoint.api_key or (NO_KEY if has_authorization(endpoint.headers) else None),
            base_url=endpoint.base_url,
            websocket_base_url=self._choices.websocket_base_url,
            organization=endpoint.organization,
            project=endpoint.project,
            default_headers=dict(endpoint.headers),
            default_query=dict(endpoint.query),
            timeout=not_given if endpoint.timeout is None else endpoint.timeout,
            max_retries=endpoint.max_retries,
        )


def _or(chosen: bool | None, told: Callable[[], bool]) -> bool:
    return told() if chosen is None else chosen


def _is_plain(endpoint: OpenAIEndpoint) -> bool:
    """Return True when the SDK's own client can send everything that *endpoint* says."""
    return endpoint == OpenAIEndpoint(
        OPENAI_URL,
        api_key=endpoint.api_key,
        organization=endpoint.organization,
        project=endpoint.project,
    )
