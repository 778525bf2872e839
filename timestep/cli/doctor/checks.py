"""Checks the configuration, the servers, and the models that it leads to."""

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Literal, TypeAlias
from urllib.request import getproxies, proxy_bypass

from timestep.cli.context import ConfigurationProblem, Context
from timestep.cli.event_loop import run_without_waiting
from timestep.cli.inventory import (
    ConfiguredModel,
    Inventory,
    Offer,
    configured_models,
    same_model,
    take_inventory,
)
from timestep.config.checks import doubts_of_variable, find_doubts
from timestep.config.kinds import KINDS, lists_models
from timestep.config.provenance import dotted
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.net.extras import install_command
from timestep.net.model_names import is_cloud_name, strip_cloud_suffix
from timestep.net.urls import is_loopback
from timestep.ollama.server_info import Server, visit
from timestep.routing import split_prefix, targets

Status: TypeAlias = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    area: str  # what was checked, such as `"configuration"` or a server
    # `"problem"` if something in the configuration cannot work, `"warning"` if it may not work as
    # expected, `"note"` for information.
    status: Status
    text: str
    fix: str = ""  # the command or the line of configuration that fixes it; empty if nothing does


Found: TypeAlias = Iterator[tuple[Status, str, str]]
"""What was found in one area: the status, the text and the fix of each finding."""

_configuration = partial(Finding, "configuration")
_FIRST = _configuration("note", "Fix this first; then the servers and models are checked.")


def examine(
    context: Context, *, patience: float, is_strict: bool = False, is_asking: bool = False
) -> list[Finding]:
    """Return every finding. Waits at most *patience* seconds for each server.

    With *is_strict* a doubt about the configuration is treated as a problem. It ends the checks
    before a server is asked. With *is_asking* each model gets one tiny request.
    """
    try:
        files = context.source_files()
        settings = context.settings
        context.build_provider() if context.needs_sdk else context.check_endpoints()
        doubts = find_doubts(settings, env_file=context.env_file)
    except ConfigurationProblem as exc:
        wrong = [_configuration("problem", line) for line in exc.message.splitlines()]
        misspelled = [doubt for name in os.environ for doubt in doubts_of_variable(name)]
        return [*(_configuration("warning", d.text, d.fix) for d in misspelled), *wrong, _FIRST]
    read = ", ".join(str(file.path) for file in files if file.is_read)
    words = f"Read {read} and the environment." if read else "Read the environment; no file."
    doubtful: Status = "problem" if is_strict else "warning"
    findings = [
        _configuration("ok", words),
        *(_configuration(doubtful, doubt.text, doubt.fix) for doubt in doubts),
    ]
    configured, usable = configured_models(settings), list[ConfiguredModel]()
    for entry in configured:
        if problem := _why_unusable(entry.model, context):
            words = f"{entry.label} = {entry.model} cannot be used: {problem}"
            findings.append(_configuration("problem", words))
        else:
            usable.append(entry)
    if is_strict and any(finding.status == "problem" for finding in findings):
        return [*findings, _FIRST]
    if all(entry in usable for entry in configured if entry.alias is None):
        findings.append(_tell_default(settings))
    return findings + run_without_waiting(
        _check_all(context, usable, patience, is_asking=is_asking)
    )


def _why_unusable(name: str, context: Context) -> str:
    """Say why *name* leads to no model. Empty if it does, or if its provider's check says it."""
    prefix, rest = split_prefix(name)
    told = {None, "openai", *context.settings.providers}
    has_name = bool(strip_cloud_suffix(rest.strip()).strip("/"))
    if not context.needs_sdk and has_name and prefix in {"ollama", *told}:
        return ""
    from timestep.cli.errors import explain
    from timestep.errors import ConfigurationError

    try:
        context.build_provider().get_model(name)
    except ConfigurationError as exc:
        return "" if prefix in told else str(exc)  # a missing key or package
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
        return explain(exc)
    return ""


def _tell_default(settings: Settings) -> Finding:
    if settings.default_model is None:
        words = "There is no default model; every agent or command must name one."
        return _configuration("note", words, "export TIMESTEP_DEFAULT_MODEL=ollama/llama3.2")
    named, models = targets(settings.default_model), settings.models_of(None)
    leads = f", which is {', then '.join(models)}" if named != models else ""
    return _configuration("ok", f"The default model is {', then '.join(named)}{leads}.")


async def _check_all(
    context: Context, configured: list[ConfiguredModel], patience: float, *, is_asking: bool
) -> list[Finding]:
    settings = context.settings
    inventories = await take_inventory(settings, patience=patience)
    servers = await asyncio.gather(*(_visit(each, patience) for each in inventories))
    wanted = {*(entry.prefix for entry in configured), *settings.providers}
    found: list[tuple[str, Found]] = []
    for each, server in zip(inventories, servers, strict=True):
        is_wanted = each.prefix in wanted
        area = f"{each.prefix or 'OpenAI'} {each.url or ''}".rstrip()
        if each.kind == "ollama":
            found.append((area, check_ollama(each, server, settings, is_wanted=is_wanted)))
        else:
            found.append((area, check_other(each, settings, is_wanted=is_wanted)))
    found.append(("models", check_models(configured, inventories, settings)))
    found.append(("network", check_proxies(inventories)))
    findings = [Finding(area, *said) for area, checked in found for said in checked]
    if is_asking:
        from timestep.cli.doctor.asking import ask, names_to_ask

        answers = await ask(context.build_provider(), names_to_ask(configured, inventories))
        findings += [Finding("answers", *answer) for answer in answers]
    if all(i.problem and not i.is_unlisted and lists_models(i.kind) for i in inventories):
        words = (
            "No model can be used yet: start Ollama, or set OPENAI_API_KEY. A demo needs neither."
        )
        findings.append(Finding("models", "problem", words, "timestep demo"))
    return list(dict.fromkeys(findings))


async def _visit(inventory: Inventory, patience: float) -> Server:
    """Ask an Ollama server about itself, if it is one that answers."""
    return Server() if inventory.endpoint is None else await visit(inventory.endpoint, patience)


# Source: ollama's release tags. Each fault is fixed in the release beside it.
_FAULTS = (
    ((0, 12, 4), "silently cuts a prompt that is too long"),
    ((0, 12, 10), "gives tool calls no ids"),
    ((0, 17, 4), "gives all tool calls of an answer the same index"),
)
_KEYS_PAGE = "https://ollama.com/settings/keys"


def check_ollama(
    inventory: Inventory, server: Server, settings: Settings, *, is_wanted: bool
) -> Found:
    """Yield the findings about one Ollama server."""
    ollama = settings.ollama
    is_ours = inventory.prefix == "ollama"
    if inventory.problem:
        is_named = is_ours and bool(ollama.base_url or ollama.host)
        yield "problem" if is_wanted or is_named else "note", inventory.problem, ""
        return
    loaded = sum(offer.loaded is not None for offer in inventory.offers)
    called = f"Ollama {server.version}" if server.version else "It answers"
    yield "ok", f"{called}: {_models(inventory)}, {loaded} loaded.", ""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", server.version or "")
    number = tuple(map(int, found.groups())) if found else (0, 0, 0)
    # 0.0.0 was built by hand; its age is unknown.
    if faults := [fault for fixed_in, fault in _FAULTS if (0, 0, 0) < number < fixed_in]:
        called += f" {'; it '.join(faults)}. timestep repairs what it can; update."
        yield "warning", called, "https://ollama.com/download"
    if is_ours and (why := settings.why_ollama_key_is_withheld):
        yield "note", f"{why}.", 'export TIMESTEP_OLLAMA__API_KEY="$OLLAMA_API_KEY"'
    if server.account:
        yield "ok", f"Signed in as {server.account}.", ""
    elif server.is_refused and inventory.is_cloud:
        text = f"ollama.com refuses the key. {_KEYS_PAGE} makes a new one."
        yield "problem", text, "export OLLAMA_API_KEY=…"
    elif server.is_refused:
        text = "Not signed in to ollama.com; only cloud models through this server need that."
        yield "note", text, server.signin_url or "ollama signin"


def check_other(inventory: Inventory, settings: Settings, *, is_wanted: bool) -> Found:
    """Yield what there is to say about a provider that is not an Ollama."""
    package = KINDS[inventory.kind].package if inventory.kind in KINDS else None
    if package is not None and find_spec(package) is not None:
        yield "ok", f"The package {package} is installed.", ""
    elif package is not None:
        text = f"The package {package} is not installed. In your clone of timestep:"
        yield "problem", text, install_command(inventory.kind)
    elif not inventory.problem:
        yield "ok", f"It answers: {_models(inventory)}.", ""
    elif inventory.is_unlisted:
        text = f"{inventory.problem} If the base URL is right, a request says more."
        yield "note", text, "timestep doctor --ask"
    elif not lists_models(inventory.kind):
        yield "note", inventory.problem, ""
    else:
        openai = settings.openai
        is_known = bool(openai.api_key or openai.api_key_command or openai.base_url)
        is_named = is_known and not inventory.prefix
        fix = "" if is_known or inventory.prefix else "export OPENAI_API_KEY=…"
        yield "problem" if is_wanted or is_named else "note", inventory.problem, fix


def _models(inventory: Inventory) -> str:
    count = len(inventory.offers)
    return f"{count} model{'' if count == 1 else 's'}"


def check_proxies(inventories: Iterable[Inventory]) -> Found:
    """Warn about a proxy for requests to this machine, if an Ollama runs on it."""
    proxies = getproxies()
    names = [name for name in ("http", "all") if proxies.get(name)]
    is_here = any(i.kind == "ollama" and is_loopback(i.url or "") for i in inventories)
    if names and is_here and not (proxy_bypass("localhost") and proxy_bypass("127.0.0.1")):
        variables = " and ".join(f"{name.upper()}_PROXY" for name in names)
        text = (
            f"{variables} would send requests to this machine through the proxy. timestep leaves "
            "the proxy out for them; ollama, curl and others do not."
        )
        yield "warning", text, "export NO_PROXY=localhost,127.0.0.1,::1"


def check_models(
    configured: list[ConfiguredModel], inventories: list[Inventory], settings: Settings
) -> Found:
    """Yield the findings about each model in *configured*, once for each model."""
    for model, entry in {entry.model: entry for entry in configured}.items():
        prefix, name = split_prefix(model)
        labels = ", ".join(other.label for other in configured if other.model == model)
        called = f"{model} ({labels})"
        asked = [i for i in inventories if i.prefix == entry.prefix]
        offers = [offer for inventory in asked for offer in inventory.offers]
        offer = next((o for o in offers if same_model(model, o.name)), None)
        table = settings.ollama_tables.get(prefix or "")
        if table is None:
            yield from _check_listed(called, offer, asked)
        elif is_cloud_name(name) and table.base_url is None:
            if table.api_key is None and table.api_key_command is None:
                text = f"{called} runs at ollama.com, which needs a key. {_KEYS_PAGE} makes one."
                yield "problem", text, "export OLLAMA_API_KEY=…"
            else:
                yield from _check_listed(called, offer, [i for i in asked if i.is_cloud])
        elif offer is not None:
            yield from _check_present(called, prefix or "", name, offer, table)
        # ollama.com has other models; the local server answers for this one. Its problem is told.
        elif not any(i.problem for i in asked if not i.is_cloud or table.base_url):
            yield "problem", f"{called} is not pulled.", f"timestep pull {model}"


def _check_listed(called: str, offer: Offer | None, asked: list[Inventory]) -> Found:
    if offer is not None:
        yield "ok", f"{called} is there.", ""
    elif asked and not any(inventory.problem for inventory in asked):
        text = f"{called} is not among the models that {asked[0].url} lists."
        yield "warning", text, "timestep models"


def _check_present(
    called: str, prefix: str, name: str, offer: Offer, table: OllamaSettings
) -> Found:
    section = "ollama" if prefix == "ollama" else dotted(("providers", prefix))
    able = offer.capabilities
    has = ", ".join(what for what in able or () if what != "completion") or "text alone"
    if able is not None and "completion" not in able:
        yield "problem", f"{called} cannot chat; it has {has}.", "timestep models"
        return
    yield "ok", f"{called} has {has}.", ""
    if able is not None and "tools" not in able and not table.tool_emulation:
        text = f"{called} cannot call tools; take another model, or have tools described to it."
        yield "warning", text, f"{section}.tool_emulation = true"
    asked = table.options_of(name, prefix).get("num_ctx")
    key = f"{section}.options.num_ctx"
    if isinstance(asked, int):
        yield from _check_asked_context(called, name, offer, asked, key)
    elif offer.loaded is None:
        text = (
            f"No num_ctx is set for models of {prefix}: their server chooses the context, "
            f"{_LITTLE:,} tokens on most machines."
        )
        yield "note", text, f"{key} = 16384"
    elif 0 < offer.loaded <= _LITTLE:
        text = f"{called} is loaded with {offer.loaded:,} tokens of context: little for agents."
        yield "warning", text, f"{key} = {min(16384, offer.context_length or 16384)}"


_LITTLE = 4096
"""The tokens of context that Ollama allocates with less than 24 GB of memory."""


def _check_asked_context(called: str, name: str, offer: Offer, asked: int, key: str) -> Found:
    most, loaded = offer.context_length, offer.loaded
    if most is not None and asked > most:
        text = f"{called} takes {most:,} tokens at most; num_ctx asks for {asked:,}."
        yield "warning", text, f"{key} = {most}"
    elif loaded is not None and 0 < loaded < asked:
        text = (
            f"{called} is loaded with {loaded:,} tokens of context; num_ctx asks for {asked:,}. "
            "The next request loads it again, or memory is short."
        )
        yield "warning", text, f"ollama stop {name}"
    elif loaded:
        yield "ok", f"{called} is loaded with {loaded:,} tokens of context.", ""
