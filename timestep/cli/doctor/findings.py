"""What the checks of ``timestep doctor`` find."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    area: str  # what was checked, such as `"configuration"` or a server
    # `"problem"` if something in the configuration cannot work, `"warning"` if it may not work as
    # expected, `"note"` for information.
    status: Status
    text: str
    fix: str = ""  # the command or the line of configuration that fixes it; empty if nothing does
