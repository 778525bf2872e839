"""Where the requests for a model go, and which key goes with them. Pure.

A key belongs to one host: the key given without a base URL is ollama.com's, the key given with
one is that URL's. Names of cloud models go to ollama.com unless a base URL is configured for
everything.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from timestep.net.connection import CHECK_PROXY
from timestep.net.headers import check_headers, check_key
from timestep.net.key_command import KeyCommand
from timestep.net.model_names import is_cloud_name, strip_cloud_suffix
from timestep.net.origin import Origin
from timestep.net.reach import USUAL, Reach
from timestep.net.secrets import secrets_in, secrets_in_url
from timestep.net.timeouts import Timeouts
from timestep.net.urls import (
    LOCAL_OLLAMA,
    OLLAMA_CLOUD,
    authority,
    check_ollama_urls,
    check_secrets_transport,
    is_ollama_cloud,
    parse_ollama_host,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Ollama server."""

    base_url: str  # without a trailing slash
    # Sent with every request; may hold the key, so they stay out of `repr`.
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    reach: Reach = USUAL  # its proxy and certificates
    key_command: KeyCommand | None = None  # prints the key, which is then not in the headers
    # How long commands wait for a connection, as chats do.
    connect_seconds: float | None = Timeouts().connect

    @property
    def is_cloud(self) -> bool:
        """True for ollama.com, which ignores ``format``, ``keep_alive`` and ``num_ctx``."""
        return is_ollama_cloud(self.base_url)

    def name_of(self, model: str) -> str:
        """Return what this server calls *model*."""
        # ollama.com lists bare names; any other server knows a cloud model by its suffix.
        return strip_cloud_suffix(model) if self.is_cloud else model

    def origin(self, model: str | None) -> Origin:
        """Return who is asked for *model*."""
        secrets = (*secrets_in(self.headers), *secrets_in_url(self.base_url))
        printed = () if self.key_command is None else self.key_command.printed
        return Origin(model, authority(self.base_url), secrets, printed)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The servers that one provider uses."""

    local: Endpoint  # for names of local models, or for everything when *cloud* is the same
    cloud: Endpoint  # for names of cloud models
    pool: Sequence[Endpoint] = ()  # all of them, when there are several for everything

    def route(self, name: str) -> tuple[Endpoint, str]:
        """Return the endpoint for the model *name*, and the name to send there."""
        endpoint = self.cloud if is_cloud_name(name) else self.local
        return endpoint, endpoint.name_of(name)


def build_endpoints(
    *,
    api_key: str | None = None,  # for *base_url*, else for ollama.com alone
    key_command: KeyCommand | None = None,  # prints the key, instead of *api_key*
    base_url: str | Sequence[str] | None = None,  # for every model; several share the requests
    local_url: str | None = None,  # for local names only, in any form of `OLLAMA_HOST`
    headers: Mapping[str, str] | None = None,  # for *base_url*, else for the local endpoint
    allow_insecure: bool = False,  # lets a key travel over plain http off this machine
    reach: Reach = USUAL,  # the proxy and the certificates, for every server
    timeouts: Timeouts | None = None,  # whose limit for a connection commands obey
) -> Endpoints:
    """Return the endpoints for a provider's configuration.

    Raises:
        ConfigurationError: A URL cannot be used, or a key would travel in the clear.
    """
    with _refusals("API key"):
        key = key_command or check_key(api_key)
    with _refusals("headers"):
        extra = check_headers({} if headers is None else headers)
    seconds = (timeouts or Timeouts()).connect
    build = partial(_endpoint, allow_insecure=allow_insecure, reach=reach, seconds=seconds)
    if base_url is not None:
        # Cloud names reach a configured base URL unchanged, unless it is ollama.com itself.
        with _refusals("base_url"):
            urls = check_ollama_urls(base_url)
            endpoints = [build(url, key, extra) for url in urls]
        pool = tuple(endpoints) if len(endpoints) > 1 else ()
        return Endpoints(endpoints[0], endpoints[0], pool)
    with _refusals("local_url"):
        local = LOCAL_OLLAMA if local_url is None else parse_ollama_host(local_url)
        local_key = key if is_ollama_cloud(local) else None
        return Endpoints(
            build(local, local_key, extra),
            build(OLLAMA_CLOUD, key, {}),
        )


@contextmanager
def _refusals(what: str) -> Generator[None]:
    """Turn what a rule says into an error that names the argument."""
    try:
        yield
    except ValueError as exc:
        from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

        raise ConfigurationError(f"Ollama {what}: {exc}.") from exc


def check_model_name(name: object) -> str:
    """Return *name*, if it can name a model."""
    from timestep.errors import UnknownModelError  # noqa: PLC0415 - it loads the SDK

    bare = name.strip() if isinstance(name, str) else ""
    if bare.lower() in {"", "ollama/", "/"} or not strip_cloud_suffix(bare):
        raise UnknownModelError(
            f"No Ollama model is named {name!r}; name one, as in 'ollama/llama3.2' or "
            "'gpt-oss:120b-cloud'."
        )
    return str(name)


def _endpoint(
    url: str,
    key: str | KeyCommand | None,
    extra: Mapping[str, str],
    *,
    allow_insecure: bool,
    reach: Reach,
    seconds: float | None,
) -> Endpoint:
    if not allow_insecure:
        check_secrets_transport(url, has_key=key is not None, headers=extra)
    headers = {name.lower(): value for name, value in extra.items()}
    if isinstance(key, KeyCommand):
        command = None if "authorization" in headers else key
        return Endpoint(url, headers, reach, command, seconds)
    if key:
        headers.setdefault("authorization", f"Bearer {key}")
    return Endpoint(url, headers, reach, connect_seconds=seconds)


def unreached(host: str, reason: str, *, is_proxied: bool = False) -> str:
    """Return what happened and the next step."""
    if is_proxied:
        return f"Cannot reach {host}: {reason}. {CHECK_PROXY}"
    if is_ollama_cloud(host):
        return f"Cannot reach {host}: {reason}. Check the network."
    return (
        f"Cannot reach Ollama at {host}: {reason}. Start it with 'ollama serve', or say "
        "where it runs: OLLAMA_HOST in the environment (for from_env() and commands), or base_url."
    )
