"""An event loop that does not wait for threads when its work is done."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


def run_without_waiting(work: Coroutine[Any, Any, _T]) -> _T:
    """Run *work* and return its result. Does not wait for threads, such as a name look-up."""
    with impatient_runner() as runner:
        return runner.run(work)


@contextmanager
def impatient_runner() -> Generator[asyncio.Runner]:
    """Return an event loop that does not wait for threads at its end, such as a tool's."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Daemons())
        yield runner


class _Daemons(ThreadPoolExecutor):
    """Runs each call in a thread of its own, for which nothing waits."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Call *fn* in a new thread and return its future."""
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()  # a thread cannot be cancelled

        def call() -> None:
            try:
                result = fn(*args, **kwargs)
            except SystemExit as exc:  # it would end the event loop
                future.set_exception(RuntimeError(f"the code called sys.exit({exc.code!r})"))
            except BaseException as exc:  # noqa: BLE001 - the future carries it
                future.set_exception(exc)
            else:
                future.set_result(result)

        threading.Thread(target=call, daemon=True).start()
        return future
