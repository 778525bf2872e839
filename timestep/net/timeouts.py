"""How long silence may last, and who notices when it lasts longer."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from timestep.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of silence before giving up; None waits for ever.

    Attributes:
        connect: Until the connection stands.
        first_byte: Until the answer begins; loading a cold model happens here.
        idle: Between two pieces of the answer.
    """

    connect: float | None = 5.0
    first_byte: float | None = 600.0
    idle: float | None = 300.0

    @classmethod
    def of(cls, value: "float | Mapping[str, float | None] | Timeouts | None") -> "Timeouts":
        """The timeouts *value* means: one number for all three, or any of them by name.

        Raises:
            ConfigurationError: A name is unknown, or a value is not a positive number.
        """
        if isinstance(value, Timeouts):
            return value
        if value is None:
            return cls()
        if isinstance(value, Mapping):
            unknown = sorted(set(value) - {"connect", "first_byte", "idle"})
            if unknown:
                raise ConfigurationError(
                    f"timeout has no {unknown[0]!r}; it takes connect, first_byte and idle."
                )
            return cls(**{name: _seconds(name, limit) for name, limit in value.items()})
        seconds = _seconds("timeout", value)
        return cls(seconds, seconds, seconds)


class Watchdog:
    """Says when nothing was heard for too long.

    One timer for the whole exchange: hearing something costs a clock read, not a new timer.

    Args:
        timeouts: None waits for ever.
        expire: Called with the phase, once, from the event loop.
    """

    _loop: asyncio.AbstractEventLoop

    def __init__(self, timeouts: Timeouts | None, expire: Callable[[str], None]) -> None:
        self._timeouts = timeouts
        self._expire = expire
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._phase = "first_byte"
        self.limit: float | None = None

    def expect(self, phase: str, limit: float | None = None) -> None:
        """Start to wait in *phase*, by default for as long as the timeouts say."""
        self.stop()
        if limit is None and self._timeouts is not None:
            limit = self._timeouts.first_byte if phase == "first_byte" else self._timeouts.idle
        self._phase, self.limit = phase, limit
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        if limit is not None:
            self._timer = self._loop.call_at(self._heard + limit, self._check)

    def touch(self) -> None:
        """Note a sign of life."""
        if self._phase == "first_byte":
            self.expect("idle")
        elif self._timer is None:
            self.expect(self._phase)
        else:
            self._heard = self._loop.time()

    def stop(self) -> None:
        """Stop waiting, until `touch` or `expect`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        limit = self.limit or 0.0
        due = self._heard + limit
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._check)
        else:
            self._expire(self._phase)


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ConfigurationError(f"{name} is {value!r}; write a positive number of seconds.")
