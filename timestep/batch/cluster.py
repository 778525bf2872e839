"""Many lines at once, on the workers of a Ray cluster.

This process reads the lines, keeps to the rates and gives out the results. A worker is an actor that
makes its own provider, with the settings of its machine, so no key leaves this process. Ray starts a
killed worker again and repeats what was under way there. When this process ends, its workers end.
"""

import os
import socket
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import Any

from agents import Agent, ModelProvider

from timestep.batch.answer import Asker, Result, failed
from timestep.batch.lines import Line
from timestep.batch.loop import CONCURRENCY, Rate, ask_all, written_prefix
from timestep.errors import ConfigurationError, TimestepError
from timestep.net.extras import install_hint

_PATIENCE = 30.0
"""How many seconds a cluster is waited for."""

Prepare = Callable[[], tuple[ModelProvider, Agent[Any] | None]]
"""Returns what answers the lines: a provider, and an agent or None. Each worker calls its copy."""


async def run_on_ray(
    lines: Iterable[Line | Mapping[str, Any]],
    prepare: Prepare,
    *,
    address: str | None = None,
    concurrency: int = CONCURRENCY,
    retries: int = 3,
    rates: Mapping[str, Rate] | None = None,
    prefix_of: Callable[[str | None], str] = written_prefix,
) -> AsyncGenerator[Result]:
    """The results of *lines*, each as it ends, so in no fixed order; as `timestep.batch.run`.

    There are as many workers as the cluster has free processors, and no more than *concurrency*.

    Args:
        lines: As for `timestep.batch.run`.
        prepare: Called once in each worker; it must be possible to pickle.
        address: Of the cluster. None for the one in ``RAY_ADDRESS``, as Ray sets it in a job, or else
            for one on this machine that lasts as long as the batch.
        concurrency: How many lines are under way at once, in all workers together.
        retries: How often a failure that may pass is tried again, the death of a worker too.
        rates: Limits by prefix, for all workers together; otherwise as for `timestep.batch.run`.
        prefix_of: As for `timestep.batch.run`.

    Raises:
        BadLineError: A mapping cannot be asked.
        ConfigurationError: Ray is not installed, or there is no cluster at *address*.
        Exception: What *prepare* raised in a worker.
    """
    ray = _ray()
    with _connected(ray, address):
        workers = _Workers(ray, prepare, concurrency, retries)
        results = ask_all(
            lines, workers.ask, concurrency=concurrency, rates=rates, prefix_of=prefix_of
        )
        async with aclosing(results):
            async for result in results:
                yield result


class _Workers:
    """The workers of one batch. A line goes to the place that has been free for the longest time."""

    def __init__(self, ray: Any, prepare: Prepare, concurrency: int, retries: int) -> None:
        self._errors = ray.exceptions
        self._retries = retries
        count = max(1, min(int(ray.available_resources().get("CPU", 1)), concurrency))
        places = -(-concurrency // count)
        remote = ray.remote(
            num_cpus=1, max_concurrency=places, max_restarts=-1, max_task_retries=retries
        )(_Worker)
        self._free: deque[Any] = deque(
            [remote.remote(prepare, retries) for _ in range(count)] * places
        )

    async def ask(self, line: Line) -> Result:
        """Return the result of *line* from a worker."""
        worker = self._free.popleft()
        try:
            return await worker.answer.remote(line)  # type: ignore[no-any-return] # Ray's
        except self._errors.RayTaskError as exc:
            raise exc.cause from exc
        except self._errors.RayActorError as exc:
            return failed(line, TimestepError(f"The worker died: {exc}"), self._retries + 1, 0.0)
        finally:
            self._free.append(worker)


class _Worker:
    """What runs on the cluster."""

    def __init__(self, prepare: Prepare, retries: int) -> None:
        self._prepare = prepare
        self._retries = retries
        self._ask: Asker | None = None

    async def answer(self, line: Line) -> Result:
        """Return the result of *line*, answered or failed."""
        if self._ask is None:
            self._ask = Asker(*self._prepare(), self._retries)
        result = await self._ask(line)
        error = result.error
        if error is None or isinstance(error, TimestepError):
            return result
        # The errors of others may not be picklable.
        return replace(result, error=TimestepError(f"{type(error).__name__}: {error}"))


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to Ray's makers
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise ConfigurationError(f"Ray is not installed. {install_hint('ray')}") from exc
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Generator[None]:
    """Connect this process to the cluster at *address*, unless the application did."""
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        _knock(where)
        ray.init(address=where, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as exc:
        raise ConfigurationError(f"There is no Ray cluster at {where}: {exc}") from exc
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Refuse an *address* where nothing listens, which Ray tries for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
