"""The cost of a model call, in US dollars.

The cost that a server reports wins. Otherwise the prices of the package ``genai-prices`` count, which the
extra ``prices`` brings. They are part of the package, so nothing is fetched. What neither knows is
unknown, and never 0.

Source: genai-prices 0.2 ``calc_price``.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any


def price(
    model: str, host: str | None, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0
) -> float | None:
    """Return what a call cost; None when the model, its host or their prices are not known.

    Args:
        model: The name that the server knows.
        host: The scheme and authority of the server; None for OpenAI.
        input_tokens: Of the prompt, those from the server's cache included.
        output_tokens: Of the answer.
        cached_tokens: Those of the prompt that came from the server's cache.
    """
    calculate, host = load(), host or "https://api.openai.com"
    if calculate is None or not (input_tokens or output_tokens) or not _has_prices(model, host):
        return None
    from genai_prices import Usage  # noqa: PLC0415 - of an extra

    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cached_tokens or None,
    )
    try:
        return float(calculate(usage, model_ref=model, provider_api_url=host).total_price)
    except (LookupError, ValueError):
        return None


@lru_cache(maxsize=256)
def _has_prices(model: str, host: str) -> bool:
    """Return False for a model without prices. The package looks for it among all it knows."""
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - of an extra

    try:
        calc_price(Usage(input_tokens=1), model_ref=model, provider_api_url=host)
    except (LookupError, ValueError):
        return False
    return True


@cache
def load() -> Callable[..., Any] | None:
    """Return the package's function; None when the extra is not installed. The first call imports it."""
    if find_spec("genai_prices") is None:
        return None
    from genai_prices import calc_price  # noqa: PLC0415 - of an extra

    return calc_price
