"""The contenders: one small module each, found by its file name.

A module defines

* ``TITLE``: its name in the report;
* ``IMPORT``: the statement an application writes, and what its import time is measured with;
* ``NEEDS``: the modules without which it is absent;
* ``connect(base_url) -> Client``, called once in a process of its own.

A model of the Agents SDK is a `Client` by way of `bench.contenders.sdk.SdkClient`.
"""

from collections.abc import AsyncGenerator
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Protocol, cast

from bench.asks import Ask

BASELINE = "ollama_client"
"""The contender all ratios refer to."""


class Client(Protocol):
    """Something that can answer an `Ask`."""

    def stream(self, ask: Ask) -> AsyncGenerator[str]:
        """Each piece of text as it arrives, and each call's name; the stream is read to its end."""
        ...

    async def whole(self, ask: Ask) -> str:
        """The whole answer: its text, and each call's name."""
        ...

    async def agent(self, ask: Ask, turns: int) -> str:
        """The final text of an agent that calls its tool on every turn but the last."""
        ...


class Contender(Protocol):
    """What a contender's module defines."""

    TITLE: str
    IMPORT: str
    NEEDS: tuple[str, ...]

    def connect(self, base_url: str) -> Client:
        """A client of the server at *base_url*."""
        ...


def load(name: str) -> Contender:
    """The contender in the module *name*."""
    return cast("Contender", import_module(f"{__name__}.{name}"))


def names() -> list[str]:
    """Every contender, the baseline first."""
    found = [module.name for module in iter_modules(__path__) if module.name != "sdk"]
    return sorted(found, key=lambda name: (name != BASELINE, name))


def is_present(name: str) -> bool:
    """True when everything the contender needs is installed."""
    return all(find_spec(module) is not None for module in load(name).NEEDS)
