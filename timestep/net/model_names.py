"""Names of Ollama models: their tag, and the suffix of cloud models. Pure.

Servers match a name in any case, and list its tag. A name without a tag means ``:latest``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

_T = TypeVar("_T")
_LATEST = ":latest"


def tagged(name: str) -> str:
    """Return *name* with its tag and in lower case, so that equal names are equal text."""
    return (name if ":" in name.rpartition("/")[2] else f"{name}{_LATEST}").lower()


def untagged(name: str) -> str:
    """Return *name* as a caller writes it: without the tag that needs no writing."""
    return name.removesuffix(_LATEST)


def by_model(tables: Mapping[str, _T]) -> dict[str, _T]:
    """Return *tables*, which are by model name, by its `tagged` form."""
    return {tagged(name): table for name, table in tables.items()}


def twins(names: Iterable[str], prefix: str = "") -> tuple[str, str] | None:
    """Return the first two of *names* that mean one model of the provider *prefix*, or None."""
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(tagged(short_name(name, prefix)), name)
        if first != name:
            return first, name
    return None


def short_name(name: str, prefix: str) -> str:
    """Return *name* as the provider *prefix* is asked for it: without that prefix."""
    return name.removeprefix(f"{prefix}/") if prefix else name


def with_short_names(tables: Mapping[str, _T], prefix: str) -> dict[str, _T]:
    """Return *tables*, and those whose name begins with *prefix* by their short name too.

    The long name stays, because a server may have a model of that name, as ``openrouter/auto``.
    """
    return {**{short_name(name, prefix): table for name, table in tables.items()}, **tables}


def is_cloud_name(name: str) -> bool:
    """Return True when *name* ends in ``-cloud`` or its tag is ``cloud``, in any case.

    Source: ollama ``internal/modelref/modelref.go``, v0.33.0, widened to untagged ``-cloud``.
    """
    lowered = name.lower()
    return lowered.endswith(("-cloud", ":cloud"))


def strip_cloud_suffix(name: str) -> str:
    """Return *name* without its cloud suffix: ``gpt-oss:120b-cloud`` is ``gpt-oss:120b``."""
    return name[: -len("-cloud")] if is_cloud_name(name) else name


def with_cloud_suffix(name: str) -> str:
    """Return the name that leads to *name* at ollama.com: ``gpt-oss:120b-cloud``."""
    return f"{name}{'-' if ':' in name else ':'}cloud"


def applies_to(model: str, wanted: bool | Sequence[str]) -> bool:
    """Return True when *wanted* is True or names *model*."""
    if isinstance(wanted, bool):
        return wanted
    return tagged(model) in {tagged(name) for name in wanted}
