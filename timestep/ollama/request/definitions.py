"""The references of a document as definitions of a ``format``. Pure.

Rules of the server's grammar are named after definitions, so names must stay apart there, and a
rule that can begin with itself is refused.
"""

import re
from dataclasses import dataclass, field
from typing import Any

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9-]+", re.ASCII)


@dataclass(slots=True)
class References:
    """What the references of one document become.

    Attributes:
        definitions: The format's, filled as references are met.
        waiting: The definitions that were referred to and are not converted yet, by name.
    """

    definitions: dict[str, Any]
    waiting: dict[str, Any] = field(default_factory=dict[str, Any])
    _names: dict[str, str] = field(default_factory=dict[str, str])
    _begins: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def name_of(self, ref: str, target: Any) -> str:
        """Return the name of the definition for *ref*, which points to *target*."""
        name = self._names.get(ref)
        if name is None:
            name = self._names[ref] = self._new_name(ref)
            self.definitions[name] = self.waiting[name] = target
            self._begins[name] = set()
        return name

    def begin(self, owner: str, name: str) -> bool:
        """Let the definition *owner* begin with *name*; return False when that makes a ring."""
        if self._may_begin(name, owner):
            return False
        self._begins[owner].add(name)
        return True

    def is_ring(self, ref: object, owner: str | None) -> bool:
        """Return True when *ref* is *owner*, or a known definition that begins with it."""
        name = self._names.get(ref) if isinstance(ref, str) else None
        return name is not None and owner is not None and self._may_begin(name, owner)

    def _new_name(self, ref: str) -> str:
        # Rules of the grammar are named after definitions, with dashes for other characters.
        name = _UNNAMEABLE.sub("-", ref.rpartition("/")[2]).strip("-") or "root"
        taken = {_UNNAMEABLE.sub("-", known) for known in self.definitions}
        plain = ref.rpartition("/")[2]
        if name not in taken:
            return plain if re.fullmatch(r"[A-Za-z0-9_.-]+", plain, re.ASCII) else name
        return next(n for i in range(1, len(taken) + 2) if (n := f"{name}-{i}") not in taken)

    def _may_begin(self, name: str, other: str) -> bool:
        """Return True when *name* is *other*, or begins with it, whatever stands between."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current == other:
                return True
            if current not in seen:
                seen.add(current)
                waiting += self._begins[current]
        return False
