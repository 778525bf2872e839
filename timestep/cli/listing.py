"""The models of every provider, with what the configuration and earlier checks say about them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import click

from timestep.cli.check.earlier import LastResult, last_results
from timestep.cli.figures import file_size, window_size
from timestep.cli.inventory import ConfiguredModel, Inventory, Offer, configured_models, same_model
from timestep.cli.output import clean, print_aside, print_rows
from timestep.config.settings import Settings
from timestep.net.model_names import is_cloud_name

_HIDDEN = {"completion"}  # every model has it


class Listing:
    """The *inventories* of all providers, for programs and for people."""

    def __init__(self, inventories: Sequence[Inventory], settings: Settings) -> None:
        self.inventories = inventories
        self._configured = configured_models(settings)
        self._checks = last_results(settings.traces.file)

    def keep(self, words: Sequence[str]) -> None:
        """Keep only the models that match all *words*."""
        everything = self.inventories
        self.inventories = [
            replace(each, offers=offers)
            for each in everything
            if (offers := [offer for offer in each.offers if self._has_all(words, offer)])
        ]
        if not self.inventories:
            silent = [i.url or i.prefix for i in everything if i.problem and not i.is_unlisted]
            unasked = f" Not asked: {', '.join(silent)}." if silent else ""
            raise click.ClickException(f"No model has {' and '.join(map(repr, words))}.{unasked}")

    def show(self) -> None:
        """Print the providers: those in use first, those with a problem last."""
        used = {entry.prefix for entry in self._configured}
        for each in sorted(self.inventories, key=lambda i: (i.prefix not in used, bool(i.problem))):
            title = f"{each.prefix or 'OpenAI'}  {each.url or ''}".rstrip()
            click.secho(clean(title), bold=True, err=bool(each.problem))
            if each.problem:
                print_aside(each.problem, indent="  ")
            elif each.offers:
                print_rows([self._row(offer) for offer in each.offers], indent="  ", one_line=True)
            elif each.kind == "ollama":
                prefix = "" if each.prefix == "ollama" else f"{each.prefix}/"
                click.echo(f"  No models. 'timestep pull {prefix}llama3.2' loads one.")
            else:
                click.echo("  The server lists no models.")
            click.echo(err=bool(each.problem))

    def show_missing(self) -> None:
        """Report the configured models that their server does not have."""
        for entry in self._configured:
            asked = [each for each in self.inventories if each.prefix == entry.prefix]
            if any(each.problem for each in asked) or not asked:
                continue
            if any(same_model(entry.model, offer.name) for each in asked for offer in each.offers):
                continue
            is_ollama = any(each.kind == "ollama" for each in asked)
            if is_ollama and is_cloud_name(entry.model):
                continue  # without a key, ollama.com is not asked
            step = f" 'timestep pull {entry.model}' loads it." if is_ollama else ""
            print_aside(f"{entry.label} = {entry.model} is not there.{step}")

    def as_json(self) -> list[dict[str, Any]]:
        """Return the providers for programs."""
        return [
            {name: getattr(each, name) for name in ("prefix", "kind", "url", "problem")}
            | {"models": [self._offer_as_json(offer) for offer in each.offers]}
            for each in self.inventories
        ]

    def _offer_as_json(self, offer: Offer) -> dict[str, Any]:
        names, check = self._names_of(offer), self._check_of(offer)
        return asdict(offer) | {
            "loaded": offer.loaded is not None,
            "loaded_context": offer.loaded or None,
            "default": any(entry.alias is None for entry in names),
            "aliases": [entry.alias for entry in names if entry.alias is not None],
            "check": check and asdict(check),
        }

    def _row(self, offer: Offer) -> list[str]:
        remarks = [entry.label for entry in self._names_of(offer)]
        if offer.loaded is not None:
            remarks.append(f"loaded {window_size(offer.loaded)}" if offer.loaded else "loaded")
        if (check := self._check_of(offer)) is not None:
            remarks.append(str(check))
        return [
            offer.name,
            " ".join(able for able in offer.capabilities or () if able not in _HIDDEN),
            "" if offer.context_length is None else window_size(offer.context_length),
            "" if not offer.size else file_size(offer.size),
            ", ".join(remarks),
        ]

    def _has_all(self, words: Sequence[str], offer: Offer) -> bool:
        names = (entry.label for entry in self._names_of(offer))
        text = " ".join([offer.name, *(offer.capabilities or ()), *names])
        return all(word.lower() in text.lower() for word in words)

    def _names_of(self, offer: Offer) -> list[ConfiguredModel]:
        return [entry for entry in self._configured if same_model(entry.model, offer.name)]

    def _check_of(self, offer: Offer) -> LastResult | None:
        """Return the last result of ``timestep check``."""
        results = self._checks.items()  # the newest comes first
        return next((r for name, r in results if same_model(name, offer.name)), None)
