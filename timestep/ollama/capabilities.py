"""What a model can do. Its server is asked once, and only when it matters.

An answer does not say which version of a model gave it, so what is remembered may be out of date
after a pull. It is forgotten when the server refuses a request. Before a request is refused from
memory, the server's list of models is asked, which the message needs anyway. One case goes
unnoticed: a pull that adds thinking to a model while this process runs.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from timestep.errors import (
    CapabilityError,
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaError,
)
from timestep.net.model_names import is_cloud_name, tagged, untagged
from timestep.ollama.request.build import Abilities
from timestep.ollama.shown import read_list, read_shown
from timestep.ollama.source import ChatSource

_PATIENCE = 10.0
"""How many seconds a request waits to hear what its model can do."""

_LIST_PATIENCE = 5.0
"""How many seconds an error waits for the list of models that its message names."""

_MOST_NAMED = 5
"""How many models with a capability an error names."""


class Catalogue:
    """Remembers what the models of one endpoint can do, until the server contradicts it."""

    def __init__(self, source: ChatSource) -> None:
        self._source = source
        self._known: dict[str, Abilities] = {}
        self._without_levels: set[str] = set()
        # Requests of one event loop ask one after the other, so that the first one asks for all.
        self._turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a copy ask for itself."""
        return Catalogue, (self._source,)

    async def abilities(self, model: str, *, ask: bool) -> Abilities:
        """Return what is known about *model*; with *ask*, ask ``/api/show`` the first time."""
        if (known := self._known.get(model)) is not None:
            return known
        # A local server hands names of cloud models on to ollama.com, which ignores "format".
        enforces = not (self._source.endpoint.is_cloud or is_cloud_name(model))
        if not ask or not self._source.can_ask:
            return Abilities(enforces_format=enforces)
        async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if (known := self._known.get(model)) is not None:
                return known
            try:
                async with asyncio.timeout(_PATIENCE):
                    shown, _ = await self._source.ask("/api/show", {"model": model})
            except (OllamaConnectionError, ModelNotFoundError):
                return Abilities(enforces_format=enforces)  # the chat itself will say it better
            except (OllamaError, TimeoutError):
                shown = None  # a proxy without /api/show, which will not have it next time either
            known = self._known[model] = _read(shown, enforces)
            return known

    def knows_levels(self, model: str) -> bool:
        """Return False once the server has refused a level of thinking for *model*."""
        return tagged(model) not in self._without_levels

    def note_no_levels(self, model: str) -> None:
        """Remember that the server takes ``think`` for *model* only as true or false."""
        self._without_levels.add(tagged(model))

    def forget(self, model: str) -> None:
        """Ask again next time, because the model was pulled again."""
        self._known.pop(model, None)

    async def check(self, model: str, abilities: Abilities, need: str, *, asked: str) -> Abilities:
        """Return *abilities*, or newer ones, if the model has what the request needs."""
        if not abilities.lacks(need):
            return abilities
        others = await self._models_with(need)
        if tagged(model) in map(tagged, others):
            self.forget(model)
            abilities = await self.abilities(model, ask=True)
            if not abilities.lacks(need):
                return abilities
        there = f" On this server these do: {_some(others)}." if others else ""
        emulate = (
            " Or set tool_emulation=True to have tools described in the prompt."
            if need == "tools"
            else ""
        )
        origin = self._source.origin(asked)
        raise CapabilityError(
            f"{asked!r} does not support {need}, and the request needs it.{there} "
            f"Choose a model with the capability ('ollama show NAME' lists them).{emulate}",
            capability=need,
            **origin.where(),
        )

    async def _models_with(self, capability: str) -> list[str]:
        try:
            async with asyncio.timeout(_LIST_PATIENCE):
                listed, _ = await self._source.ask("/api/tags")
        except (OllamaError, TimeoutError):
            return []
        return [
            model.name for model in read_list(listed) if capability in (model.capabilities or ())
        ]


def _some(names: list[str]) -> str:
    """Return the first of *names*, as people write them, and how many more there are."""
    short = sorted(untagged(name) for name in names)
    more = f" and {len(short) - _MOST_NAMED} more" if len(short) > _MOST_NAMED else ""
    return ", ".join(short[:_MOST_NAMED]) + more


def _read(document: object, enforces: bool) -> Abilities:
    shown = read_shown(document)
    able = shown.capabilities
    return Abilities(
        capabilities=None if able is None else frozenset(able),
        enforces_format=enforces and not shown.ignores_format,
        context_length=shown.context_length,
    )
