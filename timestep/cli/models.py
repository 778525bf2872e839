"""``timestep models``: what is there, and what it can do."""

from typing import TYPE_CHECKING, Any

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, file_size, json_option, print_aside, print_json, print_rows

if TYPE_CHECKING:
    from timestep.cli.configured_models import Mark
    from timestep.cli.inventory import Inventory, Offer

_HIDDEN = {"completion"}  # every model listed can do that much


@click.command()
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Give up on a server that stays silent so long.",
)
@json_option
@configuration_options
def models(context: Context, *, timeout: float, as_json: bool) -> None:
    """List the models of every provider, what they can do, and which are loaded.

    A provider that cannot be asked is told on standard error, with the next step. With --json one
    array of providers.
    """
    settings, provider = context.settings, context.build_provider()
    from timestep.cli.configured_models import read_marks
    from timestep.cli.event_loop import run_without_waiting
    from timestep.cli.inventory import take_inventory

    inventories = run_without_waiting(take_inventory(settings, provider, patience=timeout))
    marks = read_marks(settings)
    if as_json:
        print_json([_as_json(inventory, marks, inventories) for inventory in inventories])
    else:
        for inventory in inventories:
            _show(inventory, marks, inventories)
        _show_missing(inventories, marks)
    if all(inventory.problem for inventory in inventories):
        raise click.exceptions.Exit(1)


def _show(inventory: "Inventory", marks: "list[Mark]", everything: "list[Inventory]") -> None:
    title = f"{inventory.prefix or 'OpenAI'}  {inventory.url or ''}".rstrip()
    click.secho(clean(title), bold=True, err=bool(inventory.problem))
    if inventory.problem:
        print_aside(inventory.problem, indent="  ")
        click.echo(err=True)
    elif not inventory.offers:
        click.echo("  No models. 'timestep pull llama3.2' loads one.\n")
    else:
        print_rows(
            [_row(offer, _marks_of(offer, marks, everything)) for offer in inventory.offers],
            indent="  ",
        )
        click.echo()


def _row(offer: "Offer", marks: "list[Mark]") -> list[str]:
    context = "" if offer.context_length is None else f"{offer.context_length:,} tokens"
    loaded = [] if offer.loaded is None else [f"loaded with {offer.loaded:,}"]
    return [
        offer.name,
        " ".join(able for able in offer.capabilities or () if able not in _HIDDEN),
        context,
        "" if not offer.size else file_size(offer.size),
        ", ".join([*(mark.label for mark in marks), *loaded]),
    ]


def _marks_of(offer: "Offer", marks: "list[Mark]", everything: "list[Inventory]") -> "list[Mark]":
    from timestep.cli.configured_models import same_model

    ollama = {inventory.prefix for inventory in everything if inventory.kind == "ollama"}
    return [mark for mark in marks if same_model(mark.model, offer.name, ollama)]


def _show_missing(inventories: "list[Inventory]", marks: "list[Mark]") -> None:
    """Tell of names that lead to a server that was asked and does not have the model."""
    from timestep.cli.configured_models import same_model
    from timestep.ollama.names import is_cloud_name
    from timestep.routing import split_prefix

    ollama = {inventory.prefix for inventory in inventories if inventory.kind == "ollama"}
    for mark in marks:
        prefix = split_prefix(mark.model)[0] or ""
        asked = [i for i in inventories if i.prefix == prefix.removeprefix("openai")]
        offers = [offer for inventory in asked for offer in inventory.offers]
        if any(inventory.problem for inventory in asked) or not asked:
            continue
        if any(same_model(mark.model, offer.name, ollama) for offer in offers):
            continue
        if prefix in ollama and is_cloud_name(mark.model):
            continue  # without a key ollama.com was not asked
        step = f" 'timestep pull {mark.model}' loads it." if prefix in ollama else ""
        print_aside(f"{mark.label} = {mark.model} is not there.{step}")


def _as_json(
    inventory: "Inventory", marks: "list[Mark]", everything: "list[Inventory]"
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
                "default": any(mark.alias is None for mark in own),
                "aliases": [mark.alias for mark in own if mark.alias is not None],
            }
            for offer in inventory.offers
            for own in [_marks_of(offer, marks, everything)]
        ],
    }
