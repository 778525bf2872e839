"""One Ollama server of a pool, and what is known of it.

A host is in one of three states:

- **living**: requests go there.
- **resting**: a request failed there. For a while the host is chosen last, and after that it gets
  one request at a time until it completes an answer.
- **dead**: it cannot be reached, or does not list its models. For a while it is left alone, and
  after that it is asked for its list before a request goes there again.

Both pauses double with every failure in a row.
"""

from dataclasses import dataclass, field
from math import inf

from timestep.ollama.wire import Wire

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""How many seconds a dead host is left alone, and a resting one chosen last. Doubled each time."""

_UNTRIED = 0.5
"""How long a request is expected to take at a host that has answered none yet, as a part of what it
takes at the fastest host. It is less than 1, so that such a host is tried."""

_NEWEST = 0.3
"""The weight of the newest request in what requests take at a host."""

_MEMORY = 10
"""After how many requests' time half of what made a host slow is forgotten."""

_SHORTEST = 0.001
"""The fewest seconds that a request is taken to last."""


@dataclass(slots=True, eq=False)
class RunningRequest:
    """One request that is under way at a host."""

    host: "Host"  # where it is
    model: str  # by its full name; that of no model when any host will do
    begun: float  # when it was sent
    is_cold: bool  # True when the model was not known to be loaded
    waited: float | None = None  # seconds until the first piece of its answer


@dataclass(slots=True, eq=False)
class Host:
    """One server, and what is known of it."""

    wire: Wire
    # Those under way, oldest first.
    requests: dict[RunningRequest, None] = field(default_factory=dict[RunningRequest, None])
    # How many seconds requests took there lately, without loading; None before the first.
    took: float | None = None
    measured: float = 0.0  # when that was measured last
    loaded: set[str] = field(default_factory=set[str])  # the models that are loaded, by full name
    seen: float = -inf  # when it was last asked for its loaded models
    is_asked: bool = False  # True while it is being asked
    deaths: int = 0  # how often in a row it was found dead; 0 while it lives
    due: float = -inf  # when it may be asked again while it is dead
    failures: int = 0  # failed requests in a row; 0 once it has completed an answer
    rests: float = -inf  # until when it is chosen last
    lacking: dict[str, float] = field(default_factory=dict[str, float])  # models, until when

    @property
    def in_flight(self) -> int:
        """How many requests are under way there."""
        return len(self.requests)

    def expected(self, model: str, fastest: float, now: float) -> float:
        """Return how many seconds a request should take when the *fastest* host's takes so many."""
        if self.took is None:
            seconds = fastest * (_UNTRIED if model in self.loaded else 1)
        else:
            age = (now - self.measured) / (_MEMORY * self.took)
            seconds = fastest + (self.took - fastest) * 2**-age
        # A request that is still under way tells before it ends.
        oldest = next((request for request in self.requests if not request.is_cold), None)
        return seconds if oldest is None else max(seconds, now - oldest.begun)

    def note_seconds(self, seconds: float, now: float) -> None:
        """Note that a request took so many *seconds*."""
        seconds = max(seconds, _SHORTEST)
        self.took = seconds if self.took is None else self.took + _NEWEST * (seconds - self.took)
        self.measured = now

    def bury(self, now: float) -> None:
        """Note that it is dead."""
        if self.deaths and now < self.due:
            return  # every request that was under way there reports the same death
        self.deaths += 1
        self.due = now + _pause(self.deaths)
        self.loaded = set()

    def rest(self, now: float) -> None:
        """Note that a request failed there."""
        if now < self.rests:
            return  # as above
        self.failures += 1
        self.rests = now + _pause(self.failures)


def _pause(times: int) -> float:
    return float(min(_FIRST_PAUSE * 2 ** min(times - 1, 10), _LONGEST_PAUSE))
