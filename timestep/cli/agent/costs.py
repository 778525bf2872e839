"""The cost of an answer: its tokens, and its seconds if the provider says them."""

from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import ResponseUsage

from timestep.cli.figures import duration
from timestep.config.settings import Settings
from timestep.routing import split_prefix
from timestep.traces.columns import timings
from timestep.traces.prices import price
from timestep.traces.records import speed
from timestep.traces.summary import dollars


@dataclass
class Costs:
    """Tokens and seconds, summed over the model calls of one answer. None means unknown."""

    requests: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_seconds: float = 0.0
    # The time from the question to the first thought, word or tool call.
    first_token_seconds: float | None = None
    load_seconds: float | None = None
    prompt_seconds: float | None = None
    output_seconds: float | None = None
    cost: float | None = None  # in US dollars, as the server reports it, or as `price_of` found it
    cached_tokens: int = 0
    _timed: list[tuple[int, float | None]] = field(default_factory=list[tuple[int, float | None]])

    def add(self, usage: ResponseUsage | None) -> None:
        """Count a model call."""
        self.requests += 1
        if usage is None or not usage.total_tokens:
            return
        self.input_tokens = (self.input_tokens or 0) + usage.input_tokens
        self.output_tokens = (self.output_tokens or 0) + usage.output_tokens
        self.cached_tokens += usage.input_tokens_details.cached_tokens
        more: dict[str, Any] = usage.model_extra or {}
        if isinstance(cost := more.get("cost"), float):
            self.cost = (self.cost or 0.0) + cost
        said = timings(more)
        self.load_seconds = _sum(self.load_seconds, said["load_seconds"])
        self.prompt_seconds = _sum(self.prompt_seconds, said["prompt_seconds"])
        self.output_seconds = _sum(self.output_seconds, said["output_seconds"])
        self._timed.append((usage.output_tokens, said["output_seconds"]))

    @property
    def tokens_per_second(self) -> float | None:
        """The speed of the model, by the provider's own clock."""
        return speed(self._timed)

    def usage(self) -> dict[str, int] | None:
        """Return the tokens as JSON, or None if no provider counted them."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
        }

    def timings(self) -> dict[str, float | None]:
        """Return the seconds as JSON. None means that no provider reports them."""
        timings = {
            "total_seconds": self.total_seconds,
            "first_token_seconds": self.first_token_seconds,
            "load_seconds": self.load_seconds,
            "prompt_seconds": self.prompt_seconds,
            "output_seconds": self.output_seconds,
            "tokens_per_second": self.tokens_per_second,
        }
        return {name: value and round(value, 6) for name, value in timings.items()}

    def __str__(self) -> str:
        """Return what is known, for people."""
        used, speed = self.input_tokens, self.tokens_per_second
        load, first = self.load_seconds, self.first_token_seconds
        parts = [
            "" if used is None else f"{used:,} tokens in, {self.output_tokens:,} out",
            dollars(self.cost),
            "" if speed is None else f"{speed:,.1f} tokens/s",
            "" if load is None else f"load {duration(load)}",
            "" if first is None else f"first token {duration(first)}",
        ]
        return ", ".join(filter(None, parts))


def price_of(name: str, settings: Settings, read: int, cached: int, written: int) -> float | None:
    """Return the US dollars for so many tokens of the model *name*; None if nothing says it."""
    prefix, model = split_prefix(name)
    table = settings.openai_tables.get(prefix or "openai")
    if table is None:
        return None
    return price(
        model, table.base_url, input_tokens=read, output_tokens=written, cached_tokens=cached
    )


def _sum(seconds: float | None, more: float | None) -> float | None:
    return seconds if more is None else (seconds or 0.0) + more
