"""Checks the servers, and the models that the default model and the aliases lead to."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple
from urllib.request import getproxies, proxy_bypass

from timestep.cli.doctor.findings import Finding, Status
from timestep.cli.inventory import Inventory, Offer, ollama_servers
from timestep.cli.model_names import ConfiguredModel, same_model
from timestep.config.kinds import KINDS, lists_models
from timestep.config.provenance import dotted
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.net.extras import install_command
from timestep.net.foreign import mapping
from timestep.net.names import is_cloud_name
from timestep.net.urls import OLLAMA_CLOUD, is_loopback
from timestep.ollama.about import connect
from timestep.ollama.endpoint import Endpoint
from timestep.routing import split_prefix

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


_AREA = "models"
_LITTLE = 4096
"""The tokens of context that Ollama allocates with less than 24 GB of memory."""


def check_models(
    configured: list[ConfiguredModel], inventories: list[Inventory], settings: Settings
) -> list[Finding]:
    """Return the findings about each model in *configured*, once for each model."""
    ollama = {inventory.prefix for inventory in inventories if inventory.kind == "ollama"}
    findings: list[Finding] = []
    told: set[str] = set()
    for entry in configured:
        prefix, name = split_prefix(entry.model)
        if entry.model in told:
            continue
        told.add(entry.model)
        labels = ", ".join(other.label for other in configured if other.model == entry.model)
        called = f"{entry.model} ({labels})"
        asked = [i for i in inventories if i.prefix == entry.prefix]
        offers = [offer for inventory in asked for offer in inventory.offers]
        offer = next((o for o in offers if same_model(entry.model, o.name, ollama)), None)
        table = settings.tables.get(prefix or "")
        if prefix not in ollama or not isinstance(table, OllamaSettings):
            findings += _check_listed(called, offer, asked)
        elif is_cloud_name(name) and table.base_url is None:
            findings += _check_cloud(called, offer, asked, table)
        elif offer is None:
            # ollama.com has other models; the local server answers for this one.
            local = [i for i in asked if i.url != OLLAMA_CLOUD or table.base_url is not None]
            if not any(inventory.problem for inventory in local):  # else that is the finding
                step = f"timestep pull {entry.model}"
                findings.append(Finding(_AREA, "problem", f"{called} is not pulled.", step))
        else:
            findings += _check_present(called, prefix or "", name, offer, table)
    return list(dict.fromkeys(findings))


def _check_listed(called: str, offer: Offer | None, asked: list[Inventory]) -> Iterator[Finding]:
    if offer is not None:
        yield Finding(_AREA, "ok", f"{called} is there.")
    elif asked and not any(inventory.problem for inventory in asked):
        yield Finding(
            _AREA,
            "warning",
            f"{called} is not among the models that {asked[0].url} lists.",
            "timestep models",
        )


def _check_cloud(
    called: str, offer: Offer | None, asked: list[Inventory], table: OllamaSettings
) -> Iterator[Finding]:
    if table.api_key is None and table.api_key_command is None:
        yield Finding(
            _AREA,
            "problem",
            f"{called} runs at ollama.com, which needs a key. "
            "https://ollama.com/settings/keys makes one.",
            "export OLLAMA_API_KEY=…",
        )
        return
    yield from _check_listed(called, offer, [i for i in asked if i.url == OLLAMA_CLOUD])


def _check_present(
    called: str, prefix: str, name: str, offer: Offer, table: OllamaSettings
) -> Iterator[Finding]:
    able = offer.capabilities
    has = ", ".join(what for what in able or () if what != "completion") or "text alone"
    if able is not None and "completion" not in able:
        yield Finding(_AREA, "problem", f"{called} cannot chat; it has {has}.", "timestep models")
        return
    yield Finding(_AREA, "ok", f"{called} has {has}.")
    if able is not None and "tools" not in able and not table.tool_emulation:
        yield Finding(
            _AREA,
            "warning",
            f"{called} cannot call tools; take another model, or have tools described to it.",
            f"{_section(prefix)}.tool_emulation = true",
        )
    yield from _check_context(called, prefix, name, offer, table)


def _check_context(
    called: str, prefix: str, name: str, offer: Offer, table: OllamaSettings
) -> Iterator[Finding]:
    asked = table.options_of(name, prefix).get("num_ctx")
    line = f"{_section(prefix)}.options.num_ctx = {min(16384, offer.context_length or 16384)}"
    if not isinstance(asked, int):
        if offer.loaded is not None and 0 < offer.loaded <= _LITTLE:
            text = f"{called} is loaded with {offer.loaded:,} tokens of context: little for agents."
            yield Finding(_AREA, "warning", text, line)
        elif offer.loaded is None:
            text = (
                f"No num_ctx is set for models of {prefix}: their server chooses the context, "
                f"{_LITTLE:,} tokens on most machines."
            )
            yield Finding(_AREA, "note", text, f"{_section(prefix)}.options.num_ctx = 16384")
        return
    most = offer.context_length
    if most is not None and asked > most:
        text = f"{called} takes {most:,} tokens at most; num_ctx asks for {asked:,}."
        yield Finding(_AREA, "warning", text, f"{_section(prefix)}.options.num_ctx = {most}")
    elif offer.loaded is not None and 0 < offer.loaded < asked:
        text = (
            f"{called} is loaded with {offer.loaded:,} tokens of context; num_ctx asks for "
            f"{asked:,}. The next request loads it again, or memory is short."
        )
        yield Finding(_AREA, "warning", text, f"ollama stop {name}")
    elif offer.loaded is not None:
        yield Finding(_AREA, "ok", f"{called} is loaded with {offer.loaded:,} tokens of context.")


def _section(prefix: str) -> str:
    return "ollama" if prefix == "ollama" else dotted(("providers", prefix))
