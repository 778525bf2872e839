"""Limits the requests and tokens a minute of each provider."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_MINUTE = 60.0


@dataclass(slots=True)
class Rate:
    """A limit that callers wait for.

    Requests begin evenly over the minute. The tokens of an answer are known when it ends, so they are
    paid for afterwards: the next request begins when the debt is paid.

    Args:
        requests: A minute; None for no limit.
        tokens: A minute; None for no limit.
        clock: Counts seconds.
        sleep: Waits for seconds.
    """

    requests: float | None = None
    tokens: float | None = None
    clock: Callable[[], float] = field(default=lambda: asyncio.get_running_loop().time())
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    _next: float = field(default=0.0, init=False)

    async def begin(self) -> None:
        """Wait for the turn of one request."""
        now = self.clock()
        begin = max(now, self._next)
        self._next = begin + (_MINUTE / self.requests if self.requests else 0.0)
        if begin > now:
            await self.sleep(begin - now)

    def used(self, tokens: int) -> None:
        """Pay for the *tokens* of an answer."""
        if self.tokens:
            self._next = max(self._next, self.clock()) + tokens * _MINUTE / self.tokens
