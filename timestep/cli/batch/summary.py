"""Counts the results of a batch, for people and for programs."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from timestep.batch import Result
from timestep.cli.agent.costs import price_of
from timestep.config.settings import Settings
from timestep.traces.summary import dollars


@dataclass(slots=True)
class Summary:
    """The results of a batch so far."""

    lines: int  # how many the input has
    done_before: int  # lines that an earlier run answered
    failed_before: int  # lines that an earlier run gave up
    # Where the models of the lines are, to look up prices; None for agents, which may ask any
    # model.
    settings: Settings | None = None
    answered: int = 0
    # Lines that this run gave up, by class of error.
    failures: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0
    # By model name: those of the prompts, the cached ones among them, and those of the answers.
    tokens: dict[str | None, list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0] * 3)
    )
    _started: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """Count *result*."""
        if result.error is None:
            self.answered += 1
        else:
            self.failures[result.row["error"]["code"]] += 1
        usage = result.usage
        self.requests += max(usage.requests, result.attempts)
        tokens = self.tokens[result.line.question.model]
        tokens[0] += usage.input_tokens
        tokens[1] += usage.input_tokens_details.cached_tokens
        tokens[2] += usage.output_tokens

    @property
    def waiting(self) -> int:
        """How many lines had no row when this run began."""
        return self.lines - self.done_before - self.failed_before

    @property
    def failed(self) -> int:
        """How many lines this run gave up."""
        return self.failures.total()

    @property
    def input_tokens(self) -> int:
        """The tokens of all prompts."""
        return sum(tokens[0] for tokens in self.tokens.values())

    @property
    def output_tokens(self) -> int:
        """The tokens of all answers."""
        return sum(tokens[2] for tokens in self.tokens.values())

    def cost(self) -> float | None:
        """The cost in US dollars, of the models whose prices are known; None if none is known."""
        known: list[float] = []
        for name, tokens in self.tokens.items():
            names = self.settings.models_of(name) if self.settings else []
            if self.settings and len(names) == 1:  # any model of a chain may have answered
                cost = price_of(names[0], self.settings, *tokens)
                known += [] if cost is None else [cost]
        return sum(known) if known else None

    def progress(self) -> str:
        """Lines and tokens a second, the cost and the failures so far."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        lines = (self.answered + self.failed) / seconds
        speed = f"{lines:,.1f} lines/s, {self.output_tokens / seconds:,.0f} tokens/s"
        return ", ".join([speed, *self._costs(), *self._failures()])

    def _costs(self) -> list[str]:
        cost = self.cost()
        return [] if cost is None else [dollars(cost)]

    def _failures(self) -> list[str]:
        if not self.failed:
            return []
        classes = ", ".join(f"{name} {count:,}" for name, count in self.failures.most_common())
        return [f"{self.failed:,} failed ({classes})"]

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        return {
            "lines": self.lines,
            "done_before": self.done_before,
            "failed_before": self.failed_before,
            "answered": self.answered,
            "failed": self.failed,
            "failures": dict(self.failures),
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost(),
            "seconds": round(time.monotonic() - self._started, 3),
        }

    def __str__(self) -> str:
        """The summary for people."""
        parts = [f"{self.answered:,} answered"]
        if self.done_before:
            parts.append(f"{self.done_before:,} done before")
        if self.failed_before:
            parts.append(f"{self.failed_before:,} failed before (--retry-errors asks them again)")
        parts += self._failures()
        parts.append(f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out")
        return "; ".join([*parts, *self._costs()])
