"""``timestep models``: list the models and what they can do."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, file_size, json_option, print_aside, print_json, print_rows

if TYPE_CHECKING:
    from timestep.cli.check.history import LastResult
    from timestep.cli.configured_models import ConfiguredModel
    from timestep.cli.inventory import Inventory, Offer

_HIDDEN = {"completion"}  # every model has it


@click.command()
@click.argument("words", metavar="[WORD]...", nargs=-1)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Give up on a server after this many seconds of silence.",
)
@json_option
@configuration_options
def models(context: Context, *, words: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """List the models of every provider, what they can do, and which are loaded.

    With WORDs, only the models that have all of them in their name, their aliases or in what they
    can do. A model that 'timestep check' has tried shows its last result. If a provider cannot
    list its models, standard error says why, and the next step. --json prints one array of
    providers.
    """
    settings = context.settings
    context.check_endpoints()
    from timestep.cli.configured_models import configured_models
    from timestep.cli.event_loop import run_without_waiting
    from timestep.cli.inventory import take_inventory

    inventories = run_without_waiting(take_inventory(settings, patience=timeout))
    configured = configured_models(settings)
    if words:
        inventories = _only(words, inventories, configured)
    checks = _last_checks(inventories, settings.traces.file)
    if as_json:
        print_json(
            [_as_json(inventory, configured, inventories, checks) for inventory in inventories]
        )
    else:
        for inventory in sorted(inventories, key=partial(_rank, configured)):
            _show(inventory, configured, inventories, checks)
        if not words:
            _show_missing(inventories, configured)
    if all(inventory.problem for inventory in inventories):
        raise click.exceptions.Exit(1)


def _only(
    words: tuple[str, ...], everything: "list[Inventory]", configured: "list[ConfiguredModel]"
) -> "list[Inventory]":
    """Return the models in *everything* that match all *words*.

    Raises:
        ClickException: There is no such model.
    """
    found: list[Inventory] = []
    for inventory in everything:
        offers = [
            offer
            for offer in inventory.offers
            if _has_all(words, offer, _names_of(offer, configured, everything))
        ]
        if offers:
            found.append(replace(inventory, offers=offers))
    if found:
        return found
    silent = [i.url or i.prefix for i in everything if i.problem and not i.is_unlisted]
    unasked = f" Not asked: {', '.join(silent)}." if silent else ""
    raise click.ClickException(f"No model has {' and '.join(map(repr, words))}.{unasked}")


def _has_all(words: tuple[str, ...], offer: "Offer", own: "list[ConfiguredModel]") -> bool:
    text = " ".join([offer.name, *(offer.capabilities or ()), *(entry.label for entry in own)])
    return all(word.lower() in text.lower() for word in words)


def _rank(configured: "list[ConfiguredModel]", inventory: "Inventory") -> tuple[bool, bool]:
    """Return the sort key of a provider: those in use first, those with a problem last."""
    from timestep.routing import split_prefix

    prefixes = {(split_prefix(entry.model)[0] or "").removeprefix("openai") for entry in configured}
    return inventory.prefix not in prefixes, bool(inventory.problem)


def _last_checks(everything: "list[Inventory]", record: Path) -> "dict[str, LastResult]":
    """Return the last result of ``timestep check`` by the name of each model that has one."""
    from timestep.cli.check.history import last_results
    from timestep.cli.configured_models import same_model

    ollama = {inventory.prefix for inventory in everything if inventory.kind == "ollama"}
    names = [offer.name for inventory in everything for offer in inventory.offers]
    return {
        name: result
        for checked, result in reversed(last_results(record).items())  # the newest comes last
        for name in names
        if same_model(checked, name, ollama)
    }


def _show(
    inventory: "Inventory",
    configured: "list[ConfiguredModel]",
    everything: "list[Inventory]",
    checks: "dict[str, LastResult]",
) -> None:
    title = f"{inventory.prefix or 'OpenAI'}  {inventory.url or ''}".rstrip()
    click.secho(clean(title), bold=True, err=bool(inventory.problem))
    if inventory.problem:
        print_aside(inventory.problem, indent="  ")
        click.echo(err=True)
    elif not inventory.offers:
        click.echo("  No models. 'timestep pull llama3.2' loads one.\n")
    else:
        print_rows(
            [
                _row(offer, _names_of(offer, configured, everything), checks.get(offer.name))
                for offer in inventory.offers
            ],
            indent="  ",
            one_line=True,
        )
        click.echo()


def _row(
    offer: "Offer", configured: "list[ConfiguredModel]", check: "LastResult | None"
) -> list[str]:
    loaded = [] if offer.loaded is None else [f"loaded {_thousands(offer.loaded)}"]
    return [
        offer.name,
        " ".join(able for able in offer.capabilities or () if able not in _HIDDEN),
        "" if offer.context_length is None else _thousands(offer.context_length),
        "" if not offer.size else file_size(offer.size),
        ", ".join(
            [*(entry.label for entry in configured), *loaded, *([str(check)] if check else [])]
        ),
    ]


def _thousands(tokens: int) -> str:
    """Return *tokens* as models are advertised: 131,072 as 128k, 200,000 as 200k."""
    for unit in (1024, 1000):
        if tokens >= unit and tokens % unit == 0:
            return f"{tokens // unit}k"
    return f"{tokens:,}"


def _names_of(
    offer: "Offer", configured: "list[ConfiguredModel]", everything: "list[Inventory]"
) -> "list[ConfiguredModel]":
    from timestep.cli.configured_models import same_model

    ollama = {inventory.prefix for inventory in everything if inventory.kind == "ollama"}
    return [entry for entry in configured if same_model(entry.model, offer.name, ollama)]


def _show_missing(inventories: "list[Inventory]", configured: "list[ConfiguredModel]") -> None:
    """Report the configured models that their server does not have."""
    from timestep.cli.configured_models import same_model
    from timestep.net.names import is_cloud_name
    from timestep.routing import split_prefix

    ollama = {inventory.prefix for inventory in inventories if inventory.kind == "ollama"}
    for entry in configured:
        prefix = split_prefix(entry.model)[0] or ""
        asked = [i for i in inventories if i.prefix == prefix.removeprefix("openai")]
        offers = [offer for inventory in asked for offer in inventory.offers]
        if any(inventory.problem for inventory in asked) or not asked:
            continue
        if any(same_model(entry.model, offer.name, ollama) for offer in offers):
            continue
        if prefix in ollama and is_cloud_name(entry.model):
            continue  # without a key, ollama.com is not asked
        step = f" 'timestep pull {entry.model}' loads it." if prefix in ollama else ""
        print_aside(f"{entry.label} = {entry.model} is not there.{step}")


def _as_json(
    inventory: "Inventory",
    configured: "list[ConfiguredModel]",
    everything: "list[Inventory]",
    checks: "dict[str, LastResult]",
) -> dict[str, Any]:
    return {
        "prefix": inventory.prefix,
        "kind": inventory.kind,
        "url": inventory.url,
        "problem": inventory.problem,
        "models": [
            {
                "name": offer.name,
                "capabilities": offer.capabilities,
                "context_length": offer.context_length,
                "size": offer.size,
                "loaded": offer.loaded is not None,
                "loaded_context": offer.loaded,
                "default": any(entry.alias is None for entry in own),
                "aliases": [entry.alias for entry in own if entry.alias is not None],
                "check": asdict(checks[offer.name]) if offer.name in checks else None,
            }
            for offer in inventory.offers
            for own in [_names_of(offer, configured, everything)]
        ],
    }
