"""The addresses and keys of the servers in the settings. Opens nothing.

It imports no SDK, so that a command that only asks servers about themselves is quick.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from pydantic import SecretStr

from timestep.config.schema import (
    AnyOpenAISettings,
    EndpointSettings,
    OllamaSettings,
    ServerSettings,
)
from timestep.net.key_command import KeyCommand
from timestep.net.reach import Reach
from timestep.net.timeouts import Timeouts
from timestep.net.urls import OPENAI_URL
from timestep.ollama.endpoint import Endpoints, build_endpoints
from timestep.openai.endpoint import OpenAIEndpoint

if TYPE_CHECKING:
    from timestep.config.settings import Settings

logger = logging.getLogger("timestep")


class OllamaPlace(TypedDict):
    """Where an Ollama is, as `build_endpoints` and `OllamaModelProvider` take it."""

    api_key: str | None
    key_command: KeyCommand | None
    base_url: str | Sequence[str] | None
    local_url: str | None
    headers: Mapping[str, str]
    allow_insecure: bool
    reach: Reach


def openai_endpoint(table: AnyOpenAISettings) -> OpenAIEndpoint:
    """Return where the API that *table* describes is, with its key."""
    command = key_command(table)
    return OpenAIEndpoint(
        base_url=table.base_url or OPENAI_URL,
        api_key=None if command else reveal(table.api_key),
        organization=table.organization,
        project=table.project,
        headers=table.headers,
        query=table.query,
        timeout=table.timeout,
        max_retries=table.max_retries,
        max_concurrency=table.max_concurrency,
        allow_insecure=table.allow_insecure,
        reach=_reach(table),
        key_command=command,
    )


def ollama_endpoints(settings: "Settings") -> dict[str, Endpoints]:
    """Return the endpoints of every Ollama in *settings*, by prefix."""
    return {
        prefix: build_endpoints(
            **ollama_place(
                table, ollama_key(settings) if table is settings.ollama else table.api_key
            ),
            timeouts=Timeouts.of(table.timeout),
        )
        for prefix, table in settings.ollama_tables.items()
    }


def check_endpoints(settings: "Settings") -> None:
    """Check the addresses and keys of the servers in *settings*."""
    ollama_endpoints(settings)
    for table in (settings.openai, *settings.providers.values()):
        if isinstance(table, AnyOpenAISettings):
            openai_endpoint(table)


def ollama_place(table: OllamaSettings, key: SecretStr | None) -> OllamaPlace:
    """Return where the Ollama that *table* describes is, with *key* as its key."""
    command = key_command(table)
    return OllamaPlace(
        api_key=None if command else reveal(key),
        key_command=command,
        base_url=table.base_url,
        local_url=table.host,
        headers=table.headers,
        allow_insecure=table.allow_insecure,
        reach=_reach(table),
    )


def ollama_key(settings: "Settings") -> SecretStr | None:
    """Return the key for ``[ollama]``: the environment's ``OLLAMA_API_KEY`` is for ollama.com alone."""
    if not (why := settings.why_ollama_key_is_withheld):
        return settings.ollama.api_key
    logger.warning(
        "%s; to send a key there, set TIMESTEP_OLLAMA__API_KEY, or api_key in [ollama]", why
    )
    return None


def key_command(table: EndpointSettings) -> KeyCommand | None:
    """Return what prints the key for *table*; it wins over ``api_key``."""
    return KeyCommand(table.api_key_command) if table.api_key_command else None


def reveal(secret: SecretStr | None) -> str | None:
    """Return the text of *secret*."""
    return secret.get_secret_value() if secret else None


def _reach(table: ServerSettings) -> Reach:
    """Return the proxy and the certificates that *table* names."""
    shown = table.client_cert
    files = shown if isinstance(shown, Sequence) else [] if shown is None else [shown]
    return Reach(
        ca_file=None if table.ca_file is None else str(table.ca_file.expanduser()),
        client_cert=tuple(str(file.expanduser()) for file in files),
        proxy=reveal(table.proxy),
    )
