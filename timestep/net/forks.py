"""Keeps a forked process from sharing connections and held locks with its parent."""

import os
from functools import cache
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that can start over."""

    def forget_connections(self) -> None:
        """Drop what belongs to the parent without closing it."""
        ...


class Holding(Forgetful, Protocol):
    """Something that has to pause while its process forks."""

    def hold(self) -> None:
        """Pause, in the process that is about to fork."""
        ...

    def release(self) -> None:
        """Continue, in that process."""
        ...


_known: WeakSet[Forgetful] = WeakSet()
_holding: WeakSet[Holding] = WeakSet()
_held: list[Holding] = []
_kept: list[object] = []


def forget_in_children(thing: Forgetful) -> None:
    """Make *thing* forget its connections in processes that are forked from this one."""
    _register()
    _known.add(thing)


def hold_during_forks(thing: Holding) -> None:
    """Pause *thing* while this process forks, and make it forget its connections in the child."""
    forget_in_children(thing)
    _holding.add(thing)


def keep_for_parent(*connections: object) -> None:
    """Never close or collect *connections*: the parent uses them, and that could end them."""
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
    """Register with Python once, and only when something needs it: an import changes nothing."""
    if hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)
