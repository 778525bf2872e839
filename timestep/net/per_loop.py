"""One thing for each event loop, such as its connections to a server.

A thing has three states: not opened, open, closed. It opens when its loop first asks. It closes
once, in its own loop, at the first of these: `PerLoop.aclose` runs in that loop, the loop ends, or
the `PerLoop` is collected. A loop that asks again opens a new one.
"""

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_closing: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[object]]" = (
    weakref.WeakKeyDictionary()
)
"""What closes in each loop: a loop holds its tasks and its generators weakly."""


class PerLoop(Generic[T]):
    """One thing for every event loop that asks. Safe to use from any thread.

    Args:
        close: Closes a thing, in its own loop. It must not refer to this object.
    """

    def __init__(self, close: Callable[[T], Awaitable[None]]) -> None:
        self._close = close
        self._lock = Lock()
        self._opened: dict[asyncio.AbstractEventLoop, _Opened[T]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens its own."""
        return PerLoop, (self._close,)

    def get(self, make: Callable[[], T]) -> T:
        """Return the thing of the running loop; *make* makes it the first time."""
        loop = asyncio.get_running_loop()
        if (known := self._opened.get(loop)) is not None:
            return known.thing
        with self._lock:
            for dead in [known for known in self._opened if known.is_closed()]:
                self._opened.pop(dead).stay()
            thing = make()
            keeper = _close_at_the_end(thing, self._close, weakref.ref(self), loop)
            with suppress(StopIteration):  # runs to its yield, where it waits for the end
                keeper.__anext__().send(None)
            finalizer = weakref.finalize(self, _close_soon, loop, keeper)
            finalizer.atexit = False
            self._opened[loop] = _Opened(thing, keeper, finalizer.detach)
            return thing

    async def aclose(self) -> None:
        """Close the thing of the running loop. The others close with their loops. Safe to call twice."""
        keeper = self.forget(asyncio.get_running_loop())
        if keeper is not None:
            await keeper.aclose()

    def forget(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None] | None:
        """Drop the thing of *loop*, and return what closes it; None when there was none."""
        with self._lock:
            known = self._opened.pop(loop, None)
        if known is None:
            return None
        known.stay()
        return known.keeper


@dataclass(frozen=True, slots=True)
class _Opened(Generic[T]):
    thing: T
    keeper: AsyncGenerator[None]  # closes it when it is closed
    stay: Callable[[], object]  # keeps the collection of the `PerLoop` from closing it


async def _close_at_the_end(
    thing: T,
    close: Callable[[T], Awaitable[None]],
    per_loop: "weakref.ref[PerLoop[T]]",
    loop: asyncio.AbstractEventLoop,
) -> AsyncGenerator[None]:
    """Wait for the end: a loop closes its asynchronous generators before it ends."""
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # else this is a fork, and the parent still uses it
            if (known := per_loop()) is not None:
                known.forget(loop)
            await close(thing)


def _close_soon(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None]) -> None:
    """Close from any thread: a collection may happen in any."""
    with suppress(RuntimeError):  # the loop has ended, and closed what was opened in it
        loop.call_soon_threadsafe(_begin_to_close, loop, keeper)


def _begin_to_close(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None]) -> None:
    async def close() -> None:
        await keeper.aclose()

    held = _closing.setdefault(loop, set())
    task = loop.create_task(close())
    held.update({task, keeper})

    def done(task: asyncio.Task[None]) -> None:
        # A loop that ends cancels its tasks; then it closes the generators that are still there.
        held.difference_update({task} if task.cancelled() else {task, keeper})

    task.add_done_callback(done)
