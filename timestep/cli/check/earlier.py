"""The results of earlier checks, which are in the record of runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def __str__(self) -> str:
        """Return the result for people."""
        return f"check {self.passed}/{self.tried}"


def keep_result(result: ModelResult) -> None:
    """Record *result*, which is complete, as a run, unless something other than the model failed."""
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

    A result counts for the name that was checked and, unless that is a chain, for the model that
    it leads to. The record is left as it is; one that cannot be read holds no results.
    """
    from timestep.traces import Filter, StoreError, TraceStore

    found: dict[str, LastResult] = {}
    if not path.exists():
        return found
    try:
        with TraceStore(path) as store:
            for summary in store.traces(Filter(group=GROUP), limit=_MOST):
                metadata = store.get(summary.trace_id).metadata or {}
                passed, tried = metadata.get("tasks_passed"), metadata.get("tasks_tried")
                if isinstance(passed, int) and isinstance(tried, int):
                    leads_to: list[Any] = metadata.get("leads_to") or []
                    for name in (metadata.get("model"), *(leads_to if len(leads_to) == 1 else ())):
                        found.setdefault(str(name), LastResult(passed, tried, summary.started_at))
    except StoreError:
        return found
    return found
