"""OpenAI's API at any base URL: what the SDK's provider does, with a client of our own.

The SDK builds one client for the process, which fills gaps from the environment. A server that is
not OpenAI must not get OpenAI's key, organization, project or custom headers. A connection belongs
to the event loop that opened it.
"""

import asyncio
from typing import Any

from agents import Model, OpenAIProvider
from openai import DEFAULT_CONNECTION_LIMITS, AsyncOpenAI, not_given

from timestep.answer.default_settings import ModelDefaults
from timestep.errors import ConfigurationError, UnknownModelError
from timestep.net.concurrency import Places
from timestep.net.forks import forget_in_children, keep_for_parent
from timestep.net.headers import has_authorization
from timestep.net.per_loop import PerLoop
from timestep.net.proxies import ProxyError
from timestep.net.reach import CertificateError, reach_for_httpx
from timestep.net.unpicklable import Unpicklable
from timestep.openai.checked_client import NO_KEY, CheckedClient
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.model import ChatCompletionsModel
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.sdk_models import with_defaults
from timestep.openai.wire import ChatWire

_SENT_BY_EVERY_CLIENT = {"accept", "content-type", "user-agent"}


def new_client(
    endpoint: OpenAIEndpoint, *, reuse_connections: bool = True, places: Places | None = None
) -> AsyncOpenAI:
    """Return a client that sends what *endpoint* says, and nothing from the environment.

    Args:
        endpoint: Where the API is.
        reuse_connections: False to close each connection after its request.
        places: Those that the clients of all event loops share; None for any number.
    """
    ambient: list[tuple[str, str]] = []

    async def drop_ambient(request: Any) -> None:
        for name, value in ambient:
            values = request.headers.get_list(name)
            kept = [own for own in values if own != value]  # of ours, or of the call itself
            if kept != values:
                del request.headers[name]
            if kept:
                request.headers[name] = ", ".join(kept)

    try:
        proxy, verify = reach_for_httpx(endpoint.base_url, endpoint.reach)
    except (ProxyError, CertificateError) as exc:
        raise ConfigurationError(str(exc)) from exc
    headers = endpoint.sent_headers
    if not reuse_connections:
        headers["Connection"] = "close"
    client = AsyncOpenAI(
        api_key=NO_KEY if endpoint.key_command else endpoint.api_key or NO_KEY,
        base_url=endpoint.base_url,
        default_headers=headers,
        timeout=not_given if endpoint.timeout is None else endpoint.timeout,
        max_retries=endpoint.max_retries,
        default_query=dict(endpoint.query),
        http_client=CheckedClient(
            secret_headers=endpoint.headers,
            places=places,
            key_command=endpoint.key_command,
            limits=DEFAULT_CONNECTION_LIMITS,
            # A redirect would carry headers, and so keys, to another host.
            follow_redirects=False,
            proxy=proxy,
            verify=verify,
            event_hooks={"request": [drop_ambient]},
        ),
    )
    # The client has read OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS, and insists
    # on an Authorization header. What was not asked for is removed when a request is sent.
    client.organization = client.project = None
    own = {name.lower(): value for name, value in headers.items()}
    ambient += [
        (name, value)
        for name, value in (*client.auth_headers.items(), *client.default_headers.items())
        if isinstance(value, str)
        and name.lower() not in _SENT_BY_EVERY_CLIENT
        and not name.lower().startswith("x-stainless-")
        and own.get(name.lower()) != value
    ]
    return client


_DEFAULTS = ChatModelOptions()


class OpenAICompatibleProvider(Unpicklable, OpenAIProvider):
    """The models of one OpenAI API. It opens nothing early, and has one client per event loop."""

    def __init__(
        self,
        endpoint: OpenAIEndpoint,  # where the API is
        *,
        use_responses: bool | None = None,  # False for Chat Completions; None for the SDK's default
        # How our model for chat completions is asked; None takes the SDK's model. OpenAI itself and
        # the Responses API are always the SDK's.
        options: ChatModelOptions | None = _DEFAULTS,
        # Make the SDK's model for chat completions refuse what only the Responses API can do.
        strict_feature_validation: bool = False,
        buffer_streamed_tool_calls: bool = False,  # hold them back to the end, with the SDK's model
        defaults: ModelDefaults | None = None,  # settings for what a call leaves out
    ) -> None:
        super().__init__(use_responses=use_responses)
        self._endpoint = endpoint
        self._responses_api = use_responses
        self._strict, self._buffers = strict_feature_validation, buffer_streamed_tool_calls
        is_ours = use_responses is False and not endpoint.is_openai and not self._buffers
        self._options = options if is_ours else None
        self._defaults = defaults or ModelDefaults()
        self._wire = ChatWire(endpoint)
        self._places = Places(endpoint.max_concurrency)
        self._chat_models: dict[str, ChatCompletionsModel] = {}
        self._clients = PerLoop(_close)
        forget_in_children(self)

    def forget_connections(self) -> None:
        """Start over in a forked process: two processes on one connection mix up their answers."""
        keep_for_parent(self._clients)
        self._clients = PerLoop(_close)

    def get_model(self, model_name: str | None) -> Model:
        """Return the model *model_name*.

        A model that is asked for outside an event loop may run in several loops, so it opens a
        connection for every request.

        Raises:
            ConfigurationError: The endpoint is OpenAI's own and there is no key.
            UnknownModelError: There is no name.
        """
        endpoint = self._endpoint
        if self._options is not None:
            if not model_name:
                raise UnknownModelError.for_no_name()
            if (chat := self._chat_models.get(model_name)) is None:
                settings = self._defaults.settings_of(model_name)
                chat = self._chat_models[model_name] = ChatCompletionsModel(
                    model_name, self._wire, self._options, settings=settings
                )
            return chat
        has_key = endpoint.api_key or endpoint.key_command or has_authorization(endpoint.headers)
        if endpoint.is_openai and not has_key:
            raise ConfigurationError(
                f"{endpoint.base_url} needs an API key; set OPENAI_API_KEY, or api_key in the "
                "provider's table"
            )
        provider = OpenAIProvider(
            openai_client=self._client_of_this_loop(),
            use_responses=self._responses_api,
            use_responses_websocket=False,  # a choice of the application for OpenAI alone
            strict_feature_validation=self._strict,
            buffer_streamed_tool_calls=self._buffers,
        )
        model = provider.get_model(model_name)
        # This provider closes the client when it is collected, so each model keeps it alive.
        vars(model)["opened_by"] = self
        return with_defaults(model, model_name, self._defaults)

    async def aclose(self) -> None:
        """Close the client of this event loop; others close with their own loops. Idempotent."""
        await self._wire.aclose()
        await self._clients.aclose()

    def _client_of_this_loop(self) -> AsyncOpenAI:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return new_client(self._endpoint, reuse_connections=False, places=self._places)
        return self._clients.get(lambda: new_client(self._endpoint, places=self._places))


async def _close(client: AsyncOpenAI) -> None:
    await client.close()
