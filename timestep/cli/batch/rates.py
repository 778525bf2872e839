"""The options for rates: ``60`` for each prefix, or ``openai=60`` for one."""

from collections.abc import Collection, Iterable

import click

from timestep.batch.rate import Rate


def read_rates(requests: tuple[str, ...], tokens: tuple[str, ...]) -> dict[str, Rate]:
    """Return the limits that ``--rate`` and ``--token-rate`` set, by prefix."""
    found: dict[str, Rate] = {}
    for text in requests:
        prefix, number = _rate(text, "--rate")
        found[prefix] = Rate(requests=number)
    for text in tokens:
        prefix, number = _rate(text, "--token-rate")
        found.setdefault(prefix, Rate()).tokens = number
    each = found.get("", Rate())
    for rate in found.values():
        rate.requests = rate.requests or each.requests
        rate.tokens = rate.tokens or each.tokens
    return found


def refuse_unused(rates: Iterable[str], prefixes: Collection[str]) -> None:
    """Refuse a prefix in *rates* that is not in *prefixes*, because it would limit nothing."""
    for prefix in rates:
        if prefix and prefixes and prefix not in prefixes:
            places = ", ".join(sorted(prefixes))
            raise click.BadParameter(
                f"no line goes to {prefix!r}; the lines go to {places}",
                param_hint="--rate or --token-rate",
            )


def _rate(text: str, option: str) -> tuple[str, float]:
    prefix, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise click.BadParameter("write a number above 0, or PREFIX=N", param_hint=option)
    return prefix, value
