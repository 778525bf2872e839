"""Checks the servers: whether they answer, are new enough, and are signed in."""

import asyncio
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple
from urllib.request import getproxies, proxy_bypass

from timestep.cli.doctor import Finding, Status
from timestep.cli.inventory import Inventory, ollama_servers
from timestep.config.kinds import KINDS, lists_models
from timestep.config.settings import Settings
from timestep.net.extras import install_command
from timestep.net.foreign import mapping
from timestep.net.urls import OLLAMA_CLOUD, is_loopback
from timestep.ollama.about import connect
from timestep.ollama.endpoint import Endpoint

# Source: ollama's release tags. Each fault is fixed in the release beside it.
_FAULTS = (
    ((0, 12, 4), "silently cuts a prompt that is too long"),
    ((0, 12, 10), "gives tool calls no ids"),
    ((0, 17, 4), "gives all tool calls of an answer the same index"),
)
_KEYS_PAGE = "https://ollama.com/settings/keys"


@dataclass(frozen=True, slots=True)
class Server:
    """What an Ollama server says about itself. None means that it does not say."""

    prefix: str
    url: str
    version: str | None = None
    account: str | None = None
    is_refused: bool = False  # whether it requires a key or a sign-in to name the account
    signin_url: str | None = None  # the page to sign in at


async def visit(settings: Settings, patience: float) -> list[Server]:
    """Ask every Ollama server of *settings* about itself. Asks ollama.com only with a key."""
    servers = ollama_servers(settings)
    return await asyncio.gather(*(_visit(each.prefix, each.endpoint, patience) for each in servers))


async def _visit(prefix: str, endpoint: Endpoint, patience: float) -> Server:
    version, account = await asyncio.gather(
        _ask(endpoint, "GET", "/api/version", patience), _ask(endpoint, "POST", "/api/me", patience)
    )
    page = _text(account.document, "signin_url")
    return Server(
        prefix,
        endpoint.base_url,
        _text(version.document, "version"),
        _text(account.document, "name") or _text(account.document, "email"),
        is_refused=account.status in {401, 403},
        signin_url=page and endpoint.origin(None).clean(page),
    )


class _Said(NamedTuple):
    status: int | None = None
    document: Any = None


async def _ask(
    endpoint: Endpoint, method: Literal["GET", "POST"], path: str, patience: float
) -> _Said:
    """Return the status and the JSON that *endpoint* answers, if any."""
    try:
        async with asyncio.timeout(patience), connect(endpoint) as client:
            body = b"{}" if method == "POST" else None
            answer = await client.request(method, path, content=body)
    except Exception:  # noqa: BLE001 - naming the error of a key's command imports the SDK
        return _Said()
    try:
        return _Said(answer.status_code, answer.json())
    except ValueError:
        return _Said(answer.status_code)


def check_server(
    inventory: Inventory, server: Server, settings: Settings, *, is_wanted: bool
) -> list[Finding]:
    """Return the findings about one Ollama server."""
    area = f"{inventory.prefix} {inventory.url}"
    is_named = inventory.prefix == "ollama" and bool(
        settings.ollama.base_url or settings.ollama.host
    )
    if inventory.problem:
        status: Status = "problem" if is_wanted or is_named else "note"
        return [Finding(area, status, inventory.problem)]
    count = len(inventory.offers)
    loaded = sum(offer.loaded is not None for offer in inventory.offers)
    called = f"Ollama {server.version}" if server.version else "It answers"
    models = f"{count} model{'' if count == 1 else 's'}, {loaded} loaded."
    return [
        Finding(area, "ok", f"{called}: {models}"),
        *_check_version(area, server),
        *_check_key(area, inventory, settings),
        *_check_account(area, server),
    ]


def _check_version(area: str, server: Server) -> list[Finding]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", server.version or "")
    number = tuple(map(int, found.groups())) if found else (0, 0, 0)
    if number == (0, 0, 0):
        return []  # built by hand; its age is unknown
    faults = [fault for fixed_in, fault in _FAULTS if number < fixed_in]
    if not faults:
        return []
    text = f"Ollama {server.version} {'; it '.join(faults)}. timestep repairs what it can; update."
    return [Finding(area, "warning", text, "https://ollama.com/download")]


def _check_key(area: str, inventory: Inventory, settings: Settings) -> list[Finding]:
    """Note that the key of the environment is not sent to this server."""
    base_url = settings.ollama.base_url
    if (
        inventory.prefix != "ollama"
        or base_url is None
        or settings.ollama.api_key is None
        or not settings.ollama_key_is_for_cloud_only
        or inventory.url == OLLAMA_CLOUD
    ):
        return []
    text = f"OLLAMA_API_KEY is for ollama.com and is not sent to {inventory.url}."
    return [Finding(area, "note", text, 'export TIMESTEP_OLLAMA__API_KEY="$OLLAMA_API_KEY"')]


def _check_account(area: str, server: Server) -> list[Finding]:
    is_cloud = server.url == OLLAMA_CLOUD
    if server.account:
        return [Finding(area, "ok", f"Signed in as {server.account}.")]
    if is_cloud and server.is_refused:
        text = f"ollama.com refuses the key. {_KEYS_PAGE} makes a new one."
        return [Finding(area, "problem", text, "export OLLAMA_API_KEY=…")]
    if server.is_refused:
        text = "Not signed in to ollama.com; only cloud models through this server need that."
        return [Finding(area, "note", text, server.signin_url or "ollama signin")]
    return []


def check_openai(inventory: Inventory, settings: Settings, *, is_wanted: bool) -> list[Finding]:
    """Return what there is to say about a provider that is not an Ollama."""
    area = f"{inventory.prefix or 'OpenAI'} {inventory.url or ''}".rstrip()
    kind = KINDS.get(inventory.kind)
    if kind is not None and kind.package is not None:
        if find_spec(kind.package) is not None:
            return [Finding(area, "ok", f"The package {kind.package} is installed.")]
        text = f"The package {kind.package} is not installed. In your clone of timestep:"
        return [Finding(area, "problem", text, install_command(inventory.kind))]
    if not inventory.problem:
        count = len(inventory.offers)
        return [Finding(area, "ok", f"It answers: {count} model{'' if count == 1 else 's'}.")]
    if inventory.is_unlisted:
        text = f"{inventory.problem} If the base URL is right, a request says more."
        return [Finding(area, "note", text, "timestep doctor --ask")]
    if not lists_models(inventory.kind):
        return [Finding(area, "note", inventory.problem)]
    openai = settings.openai
    is_known = bool(openai.api_key or openai.api_key_command or openai.base_url)
    is_named = not inventory.prefix and is_known
    status: Status = "problem" if is_wanted or is_named else "note"
    has_key = inventory.prefix or is_known
    return [Finding(area, status, inventory.problem, "" if has_key else "export OPENAI_API_KEY=…")]


def check_proxies(servers: list[Server]) -> list[Finding]:
    """Warn about a proxy for requests to this machine, if a server runs on it."""
    proxies = getproxies()
    names = [name for name in ("http", "all") if proxies.get(name)]
    if not names or not any(is_loopback(server.url) for server in servers):
        return []
    if proxy_bypass("localhost") and proxy_bypass("127.0.0.1"):
        return []
    variables = " and ".join(f"{name.upper()}_PROXY" for name in names)
    text = (
        f"{variables} would send requests to this machine through the proxy. timestep leaves the "
        "proxy out for them; ollama, curl and others do not."
    )
    return [Finding("network", "warning", text, "export NO_PROXY=localhost,127.0.0.1,::1")]


def _text(answer: object, key: str) -> str | None:
    value = mapping(answer).get(key)
    return value if isinstance(value, str) and value else None
