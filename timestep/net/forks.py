"""What a forked process must not share with its parent: connections, and locks that may be held."""

import os
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that can begin anew."""

    def forget_connections(self) -> None:
        """Drop what belongs to the parent, without touching it."""
        ...


class Holding(Forgetful, Protocol):
    """Something that has to be at rest while its process is forked."""

    def hold(self) -> None:
        """Come to rest, in the process that is about to fork."""
        ...

    def release(self) -> None:
        """Go on, in that process."""
        ...


_known: WeakSet[Forgetful] = WeakSet()
_holding: WeakSet[Holding] = WeakSet()
_held: list[Holding] = []
_kept: list[object] = []


def forget_in_children(thing: Forgetful) -> None:
    """Have *thing* forget its connections in processes that are forked from this one."""
    _register()
    _known.add(thing)


def hold_during_forks(thing: Holding) -> None:
    """Have *thing* at rest while this process forks, and forget its connections in the child."""
    forget_in_children(thing)
    _holding.add(thing)


def keep_for_parent(*connections: object) -> None:
    """Never close or collect *connections*: that could hang up on the parent, which uses them."""
    _kept.extend(connections)


def _hold() -> None:
    for thing in list(_holding):
        thing.hold()
        _held.append(thing)


def _release() -> None:
    while _held:
        _held.pop().release()


def _forget() -> None:
    _held.clear()
    for thing in list(_known):
        thing.forget_connections()


@cache
def _register() -> None:
    """Done once, and only when there is something to forget: an import changes nothing."""
    if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)
