"""The cost of a model call, in US dollars.

The cost that a server reports wins. Otherwise the prices of the package ``genai-prices`` count, which the
extra ``prices`` brings. They are part of the package, so nothing is fetched. What neither knows is
unknown, and never 0.

Source: genai-prices 0.2 ``calc_price``.
"""

from functools import lru_cache
from importlib.util import find_spec


def price(
    model: str, host: str | None, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0
) -> float | None:
    """Return what a call cost; None when the model, its host or their prices are not known.

    *host* is None for OpenAI. The *input_tokens* include the *cached_tokens*.
    """
    host = host or "https://api.openai.com"
    if not (input_tokens or output_tokens) or not _has_prices(model, host):
        return None
    return _calculated(model, host, input_tokens, output_tokens, cached_tokens)


@lru_cache(maxsize=256)
def _has_prices(model: str, host: str) -> bool:
    """Return False for a model without prices. The package looks for it among all it knows."""
    return find_spec("genai_prices") is not None and _calculated(model, host, 1, 0, 0) is not None


def _calculated(model: str, host: str, given: int, made: int, cached: int) -> float | None:
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - of an extra

    usage = Usage(input_tokens=given, output_tokens=made, cache_read_tokens=cached or None)
    try:
        return float(calc_price(usage, model_ref=model, provider_api_url=host).total_price)
    except (LookupError, ValueError):
        return None
