"""Where a server that speaks OpenAI's API is, and what every request to it carries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from timestep.net.headers import (
    check_account,
    check_headers,
    check_key,
    check_query,
    has_authorization,
)
from timestep.net.key_command import KeyCommand
from timestep.net.reach import USUAL, Reach
from timestep.net.setting_values import RETRIES, check_concurrency, check_retries
from timestep.net.timeouts import check_seconds
from timestep.net.urls import check_base_url, check_secrets_transport

_RULES: Mapping[str, Callable[[object], object]] = {
    "organization": lambda name: None if name is None else check_account(name),
    "project": lambda name: None if name is None else check_account(name),
    "query": check_query,
    "max_retries": check_retries,
    "max_concurrency": check_concurrency,
}
"""The rules whose errors do not name what they are about."""


def _checked(name: str, value: object) -> object:
    try:
        return _RULES[name](value)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None


@dataclass(frozen=True, slots=True)
class OpenAIEndpoint:
    """Where an OpenAI API is, and what every request to it carries. Checked when it is built."""

    base_url: str  # up to and without the path of a call, as in `https://api.groq.com/openai/v1`
    api_key: str | None = field(default=None, repr=False)
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    query: Mapping[str, str] = field(default_factory=dict[str, str])  # fields of every URL
    timeout: float | None = None  # seconds; the client's own limits when None
    max_retries: int = RETRIES  # how many times a request that failed temporarily is sent again
    max_concurrency: int | None = None  # requests at once from this provider; None for any number
    allow_insecure: bool = False  # let a key travel over plain http off this machine
    reach: Reach = USUAL  # the proxy and the certificates
    # Prints the key, instead of *api_key*; None if the headers say who asks.
    key_command: KeyCommand | None = None

    def __post_init__(self) -> None:
        try:
            checked = {
                "base_url": check_base_url(self.base_url),
                "api_key": check_key(self.api_key),
                "headers": check_headers(self.headers),
                **{name: _checked(name, getattr(self, name)) for name in _RULES},
                "timeout": None if self.timeout is None else check_seconds(self.timeout),
            }
            if not self.allow_insecure:
                has_key = checked["api_key"] is not None or self.key_command is not None
                check_secrets_transport(self.base_url, has_key=has_key, headers=self.headers)
        except ValueError as exc:
            from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

            raise ConfigurationError(f"The endpoint of an OpenAI API: {exc}.") from exc
        if has_authorization(self.headers):
            checked["key_command"] = None
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def sent_headers(self) -> dict[str, str]:
        """The headers of every request: the key, and those that were configured, which win."""
        has_key = self.api_key and not has_authorization(self.headers)
        own = {
            "Authorization": f"Bearer {self.api_key}" if has_key else None,
            "OpenAI-Organization": self.organization,
            "OpenAI-Project": self.project,
        }
        return {**{name: value for name, value in own.items() if value}, **self.headers}

    @property
    def is_openai(self) -> bool:
        """True for OpenAI's own API."""
        return urlsplit(self.base_url).hostname == "api.openai.com"

    @property
    def wants_short_call_ids(self) -> bool:
        """True for Mistral, which takes call ids of nine letters and digits only."""
        return f".{urlsplit(self.base_url).hostname}".endswith(".mistral.ai")
