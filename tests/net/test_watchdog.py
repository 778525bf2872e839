import asyncio

import pytest

from timestep.net.timeouts import Timeouts
from timestep.net.watchdog import Watchdog

SOON = 0.02
NEVER = 3600.0


class Heard:
    """A watchdog, and the phases in which it gave up."""

    def __init__(self, first_byte, idle):
        self._expired = asyncio.Queue()
        timeouts = Timeouts(connect=None, first_byte=first_byte, idle=idle)
        self.watch = Watchdog(timeouts, self._expired.put_nowait)

    async def phase(self):
        return await self._expired.get()

    @property
    def nothing(self):
        return self._expired.empty()


async def later(seconds):
    rung = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, rung.set)
    await rung.wait()


@pytest.mark.parametrize("idle", [None, SOON / 2, NEVER])
async def test_the_first_byte_has_its_own_limit(idle):
    heard = Heard(SOON, idle)

    heard.watch.expect("first_byte")

    assert await heard.phase() == "first_byte"
    assert heard.watch.limit == SOON


@pytest.mark.parametrize("first_byte", [None, SOON / 2, NEVER])
async def test_silence_between_two_pieces_has_its_own_limit(first_byte):
    heard = Heard(first_byte, SOON)

    heard.watch.expect("first_byte")
    heard.watch.touch()

    assert await heard.phase() == "idle"
    assert heard.watch.limit == SOON


async def test_a_limit_that_is_given_wins():
    heard = Heard(NEVER, NEVER)

    heard.watch.expect("first_byte")
    heard.watch.expect("idle", SOON)

    assert await heard.phase() == "idle"


async def test_a_paused_watchdog_waits_again_after_a_sign_of_life():
    heard = Heard(SOON, SOON)
    heard.watch.expect("first_byte")
    heard.watch.touch()
    heard.watch.pause()

    await later(3 * SOON)  # the timer has rung
    assert heard.nothing
    heard.watch.touch()

    assert await heard.phase() == "idle"


@pytest.mark.parametrize("end", ["pause", "stop"])
async def test_the_end_of_waiting_gives_up_nothing(end):
    heard = Heard(SOON, SOON)
    heard.watch.expect("first_byte")
    getattr(heard.watch, end)()

    await later(3 * SOON)

    assert heard.nothing


async def test_a_limit_that_was_reached_a_moment_ago_counts_from_the_last_byte(monkeypatch):
    """The timer runs on while bytes arrive, and is set again only when it rings."""
    now, timers = 100.0, []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr(loop, "call_at", lambda *timer: timers.append(timer))
    heard = Heard(10, 10)

    heard.watch.expect("first_byte")
    now = 106.0
    heard.watch.touch()  # now in the phase "idle"
    now = 109.0
    heard.watch.touch()
    for due, ring, loop in timers:  # each ring may set the next timer
        now = max(now, due)
        if now < 119.0:
            ring(loop)
            assert heard.nothing
    timers[-1][1](loop)

    assert timers[0][0] == 110.0
    assert now == 119.0
    assert not heard.nothing


async def test_one_timer_serves_the_phases_of_a_call():
    heard = Heard(600, 300)
    loop = asyncio.get_running_loop()
    made = []
    call_at, loop.call_at = loop.call_at, lambda *args: made.append(call_at(*args)) or made[-1]

    heard.watch.expect("first_byte")
    heard.watch.pause()
    heard.watch.expect("first_byte")
    heard.watch.touch()
    heard.watch.stop()

    assert len(made) == 1
    assert made[0].cancelled()
