"""Checks the models that the default model and the aliases lead to."""

from collections.abc import Iterator

from timestep.cli.configured_models import ConfiguredModel, same_model
from timestep.cli.doctor import Finding
from timestep.cli.inventory import Inventory, Offer
from timestep.config.provenance import dotted
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.net.names import is_cloud_name
from timestep.net.urls import OLLAMA_CLOUD
from timestep.routing import split_prefix

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
