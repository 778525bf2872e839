"""An event loop that ends when its work does."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


def run_without_waiting(work: Coroutine[Any, Any, _T]) -> _T:
    """What *work* returns; threads that still run then, such as a name look-up, are left alone."""
    with impatient_runner() as runner:
        return runner.run(work)


@contextmanager
def impatient_runner() -> Generator[asyncio.Runner]:
    """A loop to run work in; threads that still run at the end, such as a tool's, are left alone."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Daemons())
        yield runner


class _Daemons(ThreadPoolExecutor):
    """A thread for each call; neither the loop nor the interpreter waits for them to end."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """The future of a call in a thread of its own."""
        future: Future[_T] = Future()
        future.set_running_or_notify_cancel()  # a thread cannot be called off

        def call() -> None:
            try:
                result = fn(*args, **kwargs)
            except SystemExit as exc:  # it would end the loop, task by task
                future.set_exception(RuntimeError(f"the code called sys.exit({exc.code!r})"))
            except BaseException as exc:  # noqa: BLE001 - whoever waits for the future gets it
                future.set_exception(exc)
            else:
                future.set_result(result)

        threading.Thread(target=call, daemon=True).start()
        return future
