"""One request, for what all wires do with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from timestep.answer.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """What the requests of all wires have in common."""

    body: dict[str, Any]
    headers: Mapping[str, str] = field(repr=False)  # beside the endpoint's own
    rules: Rules  # how the answer is read
    ignored: tuple[str, ...] = ()  # what was left out and deserves a warning, a phrase each

    @property
    def messages(self) -> list[Any]:
        """The messages as they are sent."""
        messages: list[Any] = self.body["messages"]
        return messages

    @property
    def traced(self) -> dict[str, Any]:
        """Facts for the span of the call."""
        ignored = {"ignored": list(self.ignored)} if self.ignored else {}
        return {"repaired": self.rules.is_repair, **ignored}
