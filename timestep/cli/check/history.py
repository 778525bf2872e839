"""The results of earlier checks, kept in the record of runs.

A complete result is a run of its own, in the group `GROUP`, whose metadata holds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from timestep.cli.check.results import ModelResult

GROUP = "timestep check"
_MOST = 500
"""How many earlier results are read."""


@dataclass(frozen=True, slots=True)
class LastResult:
    """The last complete result of a model."""

    passed: int  # the tasks that passed in every try
    tried: int  # the tasks that were tried
    at: float  # Unix seconds

    @classmethod
    def of(cls, metadata: Mapping[str, Any], at: float) -> Self | None:
        """Return the result that *metadata* holds; None if it holds something else."""
        passed, tried = metadata.get("tasks_passed"), metadata.get("tasks_tried")
        if not isinstance(passed, int) or not isinstance(tried, int):
            return None
        return cls(passed, tried, at)

    def __str__(self) -> str:
        """Return the result for people."""
        return f"check {self.passed}/{self.tried}"


def keep_result(result: ModelResult) -> None:
    """Record *result*, which is complete, unless something else than the model failed."""
    from agents import trace

    if result.problem or result.tries("error"):
        return
    about = {
        "model": result.model,
        "leads_to": result.leads_to,
        "tasks_passed": result.passed,
        "tasks_tried": len(result.tried),
    }
    name = f"check of {result.model}: {result.passed} of {len(result.tried)} tasks passed"
    with trace(name, group_id=GROUP, metadata=about):
        pass


def last_results(path: Path) -> dict[str, LastResult]:
    """Return the last result of each model, by its name, from the record at *path*.

    A result counts for the name that was checked, and for the model that it leads to. The record
    is left as it is; one that cannot be read holds no results.
    """
    from timestep.traces import Filter, StoreError, TraceStore

    found: dict[str, LastResult] = {}
    if not path.exists():
        return found
    try:
        with TraceStore(path) as store:
            for summary in store.traces(Filter(group=GROUP), limit=_MOST):
                metadata = store.get(summary.trace_id).metadata or {}
                result = LastResult.of(metadata, summary.started_at)
                if result is not None:
                    for name in _names(metadata):
                        found.setdefault(name, result)
    except StoreError:
        return found
    return found


def _names(metadata: Mapping[str, Any]) -> list[str]:
    """Return the name that was checked and, unless it is a chain, the one it leads to."""
    leads_to: list[Any] = metadata.get("leads_to") or []
    return [
        str(name) for name in (metadata.get("model"), *(leads_to if len(leads_to) == 1 else ()))
    ]
