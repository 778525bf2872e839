"""How long a server may be silent."""

from collections.abc import Mapping
from typing import Annotated, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
"""A limit: a finite number above 0. Text and booleans are refused."""


class Timeouts(BaseModel):
    """Seconds of silence before giving up; None waits for ever.

    One type for the settings, which write it as a table, and for the connections.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    connect: Seconds | None = Field(default=5.0, examples=[5])
    """Seconds to wait for a connection."""
    first_byte: Seconds | None = Field(default=600.0, examples=[300])
    """Seconds to wait for the first byte of an answer; loading a model counts."""
    idle: Seconds | None = Field(default=300.0, examples=[120])
    """Seconds to wait between two pieces of an answer."""

    @classmethod
    def of(cls, value: "float | Mapping[str, float | None] | Timeouts | None") -> Self:
        """Return the limits that *value* means: one number for all three, or any of them by name.

        Raises:
            ValueError: A name is unknown, or a value is not a positive number. No value is shown.
        """
        if isinstance(value, cls):
            return value
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            return cls.model_validate(dict.fromkeys(cls.model_fields, check_seconds(value)))
        try:
            return cls.model_validate(dict(value))
        except ValidationError as exc:
            raise ValueError(_reason(exc)) from None


_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)


def check_seconds(value: object) -> float:
    """Return *value*, if it is a limit in seconds.

    Raises:
        ValueError: It is not a positive number. The value is not shown.
    """
    try:
        return _SECONDS.validate_python(value)
    except ValidationError:
        raise ValueError("timeout must be a positive number of seconds, such as 120") from None


def _reason(error: ValidationError) -> str:
    [problem, *_] = error.errors(include_input=False, include_url=False)
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"timeout has no {name!r}; it takes {', '.join(Timeouts.model_fields)}"
    return f"{name} in timeout must be a positive number of seconds, such as 120"
