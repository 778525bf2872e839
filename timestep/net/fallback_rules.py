"""The rules for when a chain asks its next model, for settings and code. Pure.

Settings and code share the one type, so this module imports neither the SDK nor a provider. A rule
that cannot be used is a `ValueError` (pydantic's ``ValidationError``) that shows no value.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

FallbackReason: TypeAlias = Literal[
    "connection", "timeout", "not_found", "busy", "rate_limit", "broken", "authentication"
]
"""Why a chain of models may go on to its next one."""

_REASONS: tuple[FallbackReason, ...] = get_args(FallbackReason)


def _check_reasons(given: object) -> tuple[object, ...]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        example = given if given in _REASONS else "busy"
        raise ValueError(f"write a list, as in [{example!r}]")
    reasons = tuple(cast("Iterable[object]", given))
    if any(reason not in _REASONS for reason in reasons):
        raise ValueError(f"an unknown reason; known are {', '.join(_REASONS)}")
    return reasons


class FallbackRules(BaseModel):
    """The rules for when a chain (an alias or default that is a list) asks its next model."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    on: Annotated[Sequence[FallbackReason], BeforeValidator(_check_reasons)] = (
        "connection",
        "timeout",
        "not_found",
        "busy",
        "rate_limit",
    )
    """The failures after which the next model is asked. broken and authentication count only when they are named."""
    attempts: Annotated[int, Field(ge=1, strict=True)] | None = Field(default=None, examples=[2])
    """How many models one call asks at most. Without it, all of the list."""
    cool_down: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)] = 30
    """For how many seconds a model that failed is skipped. 0 turns this off."""


def check_rules(given: object) -> FallbackRules:
    """Return the rules *given* to a chain; those by default for None.

    Raises:
        ValueError: They are something else.
    """
    if not isinstance(given, FallbackRules | None):
        raise ValueError(
            f"the rules of a chain of models are {type(given).__name__}; write FallbackRules(…)"
        )
    return given or FallbackRules()
