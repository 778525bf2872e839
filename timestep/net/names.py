"""Names of Ollama models: their tag, and the suffix of cloud models. Pure.

Servers match a name in any case, and list its tag. A name without a tag means ``:latest``.
"""

from collections.abc import Sequence

_LATEST = ":latest"


def tagged(name: str) -> str:
    """Return *name* with its tag and in lower case, so that equal names are equal text."""
    return (name if ":" in name.rpartition("/")[2] else f"{name}{_LATEST}").lower()


def untagged(name: str) -> str:
    """Return *name* as a caller writes it: without the tag that needs no writing."""
    return name.removesuffix(_LATEST)


def is_cloud_name(name: str) -> bool:
    """Return True when *name* ends in ``-cloud`` or its tag is ``cloud``, in any case.

    Source: ollama ``internal/modelref/modelref.go``, v0.33.0, widened to untagged ``-cloud``.
    """
    lowered = name.lower()
    return lowered.endswith(("-cloud", ":cloud"))


def strip_cloud_suffix(name: str) -> str:
    """Return *name* without its cloud suffix: ``gpt-oss:120b-cloud`` is ``gpt-oss:120b``."""
    return name[: -len("-cloud")] if is_cloud_name(name) else name


def applies_to(model: str, wanted: bool | Sequence[str]) -> bool:
    """Return True when *wanted* is True or names *model*."""
    if isinstance(wanted, bool):
        return wanted
    return tagged(model) in {tagged(name) for name in wanted}
