"""The results of a check."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any, Literal

Verdict = Literal["passed", "failed", "error"]


@dataclass(frozen=True, slots=True)
class Try:
    """One try of one task. None means unknown."""

    # `"failed"` if the model is to blame, `"error"` if the server, the connection or the request
    # is.
    verdict: Verdict
    # What was expected and what came, or the error, in one line; empty if it passed.
    reason: str = ""
    trace_id: str | None = None  # under which id the try is recorded; None if recording is off
    seconds: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_token_seconds: float | None = None
    tokens_per_second: float | None = None
    load_seconds: float | None = None

    @property
    def tokens(self) -> int | None:
        """The tokens in and out."""
        return None if self.input_tokens is None else self.input_tokens + (self.output_tokens or 0)


class _Figures(ABC):
    """The figures of a result, over its parts."""

    @property
    @abstractmethod
    def _parts(self) -> "Sequence[Try | TaskResult]": ...

    @property
    def tokens(self) -> int | None:
        """The tokens of a part, in and out, on average."""
        mean = _known(fmean, (each.tokens for each in self._parts))
        return None if mean is None else round(mean)

    @property
    def first_token_seconds(self) -> float | None:
        """The median time to the first token."""
        return _known(median, (each.first_token_seconds for each in self._parts))

    @property
    def tokens_per_second(self) -> float | None:
        """The mean speed of writing."""
        return _known(fmean, (each.tokens_per_second for each in self._parts))


@dataclass
class TaskResult(_Figures):
    """The tries of one task."""

    name: str
    shows: str = ""  # the ability that a model shows by passing it
    tries: list[Try] = field(default_factory=list[Try])
    skipped: str = ""  # why it was left out; empty if it was not

    def count(self, verdict: Verdict) -> int:
        """How many tries ended with *verdict*."""
        return sum(each.verdict == verdict for each in self.tries)

    @property
    def is_passed(self) -> bool:
        """Whether every try passed, and there was one."""
        return bool(self.tries) and self.count("passed") == len(self.tries)

    @property
    def first_problem(self) -> Try | None:
        """The first try that did not pass."""
        return next((each for each in self.tries if each.verdict != "passed"), None)

    @property
    def score(self) -> str:
        """How many tries passed, such as ``"2/3"``."""
        return f"{self.count('passed')}/{len(self.tries)}" if self.tries else "-"

    @property
    def _parts(self) -> Sequence[Try]:
        return self.tries

    def as_json(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "task": self.name,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "errors": self.count("error"),
            "skipped": self.skipped or None,
            "tokens": self.tokens,
            "first_token_seconds": self.first_token_seconds,
            "tokens_per_second": self.tokens_per_second,
            "tries": [asdict(each) for each in self.tries],
        }


@dataclass
class ModelResult(_Figures):
    """What was found about one model. None means unknown."""

    model: str
    leads_to: list[str] = field(default_factory=list[str])  # the models behind an alias or a chain
    problem: str = ""  # why it could not be tried; empty if it could
    claimed: list[str] | None = None
    context_length: int | None = None  # the longest window that the model takes, in tokens
    window_configured: int | None = None  # the window that the configuration asks for
    window_real: int | None = None  # the window that the server has allocated
    load_seconds: float | None = None
    is_greedy: bool = True  # whether the server took a temperature of 0
    has_seed: bool = True  # whether the server took a seed
    tasks: list[TaskResult] = field(default_factory=list[TaskResult])

    @property
    def window(self) -> int | None:
        """The window that prompts must fit into, if it is known."""
        return self.window_real or self.window_configured or self.context_length

    @property
    def seen(self) -> list[str]:
        """The abilities that the model showed: a task for each one passed at least once."""
        return sorted({each.shows for each in self.tasks if each.count("passed")} - {""})

    @property
    def tried(self) -> list[TaskResult]:
        """The tasks that were not left out."""
        return [each for each in self.tasks if each.tries]

    @property
    def passed(self) -> int:
        """How many tasks passed in every try."""
        return sum(each.is_passed for each in self.tasks)

    def tries(self, verdict: Verdict | None = None) -> int:
        """How many tries there were, or how many ended with *verdict*."""
        return sum(len(t.tries) if verdict is None else t.count(verdict) for t in self.tasks)

    @property
    def _parts(self) -> Sequence[TaskResult]:
        return self.tasks

    def as_json(self) -> dict[str, Any]:
        """The result for programs."""
        facts = {name: value for name, value in vars(self).items() if name != "tasks"}
        return facts | {
            "problem": self.problem or None,
            "seen": self.seen,
            "tasks_passed": self.passed,
            "tasks_tried": len(self.tried),
            "tokens_per_task": self.tokens,
            "first_token_seconds": self.first_token_seconds,
            "tokens_per_second": self.tokens_per_second,
            "tasks": [each.as_json() for each in self.tasks],
        }


def ranked(results: Iterable[ModelResult]) -> list[ModelResult]:
    """Return *results* with the best model first: by tasks, by tries, by speed."""
    return sorted(
        results,
        key=lambda each: (
            bool(each.problem),
            -each.passed,
            -each.tries("passed"),
            -(each.tokens_per_second or 0.0),
            each.model,
        ),
    )


def _known(summary: Any, values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return summary(known) if known else None
