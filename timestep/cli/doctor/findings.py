"""What a check found."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        area: What it belongs to, such as ``"configuration"`` or a server.
        status: ``"problem"`` when something the configuration names cannot work, ``"warning"``
            when it may not do what is expected, ``"note"`` for what is merely good to know.
        text: What was found.
        fix: The command or the line of configuration that fixes it.
    """

    area: str
    status: Status
    text: str
    fix: str = ""
