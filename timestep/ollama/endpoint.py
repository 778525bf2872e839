"""Where a model's requests go, and which key may go along. Pure.

A key belongs to one host: the key given without a base URL is ollama.com's, the key given with
one is that URL's. Names of cloud models go to ollama.com unless a base URL is configured for
everything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from timestep.errors import ConfigurationError, UnknownModelError
from timestep.net.headers import check_not_framing, is_header
from timestep.net.urls import (
    LOCAL_OLLAMA,
    OLLAMA_CLOUD,
    check_base_url,
    check_key_transport,
    is_loopback,
    is_ollama_cloud,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Ollama server.

    Attributes:
        base_url: Without a trailing slash.
        headers: Sent with every request; may hold the key, so they stay out of ``repr``.
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def is_cloud(self) -> bool:
        """True for ollama.com, which ignores ``format``, ``keep_alive`` and ``num_ctx``."""
        return is_ollama_cloud(self.base_url)

    def name_of(self, model: str) -> str:
        """What this server calls *model*."""
        # ollama.com lists bare names only; any other server wants the suffix to know a cloud model.
        return strip_cloud_suffix(model) if self.is_cloud else model

    @property
    def is_loopback(self) -> bool:
        """True for this machine, where no proxy belongs in between."""
        return is_loopback(self.base_url)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The servers one provider knows.

    Attributes:
        local: For names of local models, or for everything when *cloud* is the same.
        cloud: For names of cloud models.
        pool: When there are several for everything: all of them, the first of which is *local*.
    """

    local: Endpoint
    cloud: Endpoint
    pool: Sequence[Endpoint] = ()

    def route(self, name: str) -> tuple[Endpoint, str]:
        """The endpoint for the model *name*, and the name to send there."""
        endpoint = self.cloud if is_cloud_name(name) else self.local
        return endpoint, endpoint.name_of(name)


def build_endpoints(
    *,
    api_key: str | None = None,
    base_url: str | Sequence[str] | None = None,
    local_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    allow_insecure: bool = False,
) -> Endpoints:
    """The endpoints for a provider's configuration.

    Args:
        api_key: For *base_url* when that is given, for each of several, else for ollama.com alone.
        base_url: For every model, cloud names too; several share the requests.
        local_url: For local names only (``OLLAMA_HOST``); gets no key unless it is ollama.com.
        headers: Extra headers for *base_url*, or for the local endpoint when there is none.
        allow_insecure: Lets a key travel over plain http off this machine.

    Raises:
        ConfigurationError: A URL cannot be used, or a key would travel in the clear.
    """
    key = _clean_key(api_key)
    if base_url is not None:
        # Cloud names reach a configured base URL unchanged, unless it is ollama.com itself.
        urls = base_url if isinstance(base_url, list | tuple) else [base_url]
        known = dict.fromkeys(map(_checked, urls))
        endpoints = [_endpoint(url, key, headers, allow_insecure) for url in known]
        return _for_everything(endpoints)
    local = _checked(local_url) if local_url is not None else LOCAL_OLLAMA
    local_key = key if is_ollama_cloud(local) else ""
    return Endpoints(
        _endpoint(local, local_key, headers, allow_insecure),
        _endpoint(OLLAMA_CLOUD, key, None, allow_insecure),
    )


def _for_everything(endpoints: Sequence[Endpoint]) -> Endpoints:
    if not endpoints:
        raise ConfigurationError(
            "Ollama base_url is an empty list; name a server, as in 'http://localhost:11434'."
        )
    if len(endpoints) == 1:
        return Endpoints(endpoints[0], endpoints[0])
    if any(endpoint.is_cloud for endpoint in endpoints):
        raise ConfigurationError(
            "Ollama base_url lists ollama.com beside other servers, which call models otherwise. "
            "Leave it out: names of cloud models go there when base_url is not set, and a list of "
            "models (an alias) goes on to it when a server cannot answer."
        )
    return Endpoints(endpoints[0], endpoints[0], tuple(endpoints))


def is_cloud_name(name: str) -> bool:
    """True when *name* ends in ``-cloud`` or its tag is ``cloud``, in any case.

    Source: ollama ``internal/modelref/modelref.go``, v0.33.0, widened to untagged ``-cloud``.
    """
    lowered = name.lower()
    return lowered.endswith(("-cloud", ":cloud"))


def strip_cloud_suffix(name: str) -> str:
    """*name* without its cloud suffix: ``gpt-oss:120b-cloud`` is ``gpt-oss:120b``."""
    return name[: -len("-cloud")] if is_cloud_name(name) else name


def tagged(name: str) -> str:
    """*name* with its tag, in lower case: servers match names in any case, and list the tag."""
    return (name if ":" in name.rpartition("/")[2] else f"{name}:latest").lower()


def check_model_name(name: object) -> str:
    """*name*, when it can name a model.

    Raises:
        UnknownModelError: It is not text, or empty, or ends at its prefix.
    """
    if not isinstance(name, str) or not name.strip():
        raise UnknownModelError(
            f"No Ollama model is named {name!r}; name one, as in 'ollama/llama3.2'."
        )
    if name.strip().lower() in {"ollama/", "/"}:
        raise UnknownModelError(
            f"The model name {name!r} ends at its prefix; add the model, as in 'ollama/llama3.2'."
        )
    if not strip_cloud_suffix(name.strip()):
        raise UnknownModelError(
            f"The model name {name!r} is only a suffix; write the model before it, as in "
            "'gpt-oss:120b-cloud'."
        )
    return name


def _clean_key(api_key: object) -> str:
    if not isinstance(api_key, str | None):
        raise ConfigurationError(
            f"The Ollama API key is {type(api_key).__name__}, not text; pass the key itself."
        )
    key = (api_key or "").strip()
    if not is_header("authorization", key) or " " in key:
        raise ConfigurationError(
            "The Ollama API key holds a character no HTTP header can carry (a line break, a space "
            "or a letter outside ASCII); copy the key again."
        )
    return key


def _endpoint(url: str, key: str, extra: object, allow_insecure: bool) -> Endpoint:
    if not isinstance(extra, Mapping | None):
        raise ConfigurationError(
            f"The Ollama headers are {type(extra).__name__}; pass a dict of texts by name."
        )
    given = cast("Mapping[str, str]", extra or {})
    headers = {str(name).lower(): value for name, value in given.items()}
    for name, value in headers.items():
        if not is_header(name, value):
            raise ConfigurationError(
                f"The Ollama header {name!r} cannot be sent: names are letters, digits and dashes, "
                "values are printable ASCII."
            )
        try:
            check_not_framing(name)
        except ValueError as exc:
            raise ConfigurationError(f"The Ollama header {exc}.") from exc
    if key:
        headers.setdefault("authorization", f"Bearer {key}")
    if "authorization" in headers and not allow_insecure:
        try:
            check_key_transport(url)
        except ValueError as exc:
            raise ConfigurationError(f"Ollama base_url: {exc}.") from exc
    return Endpoint(url, headers)


def _checked(url: object) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"Ollama base_url is {type(url).__name__}, not text.")
    try:
        return check_base_url(url, ollama=True)
    except ValueError as exc:
        raise ConfigurationError(f"Ollama base_url: {exc}.") from exc
