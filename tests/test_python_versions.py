"""What the versions of Python that timestep promises do differently."""

import re
from pathlib import Path

import timestep

ROOM = Path(timestep.__file__).parent
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{\d*,?\d*\})\+")


def test_no_pattern_repeats_a_group_possessively():
    """Python before 3.11.5 matches such a group wrongly, and an atomic group rightly."""
    found = {
        str(path.relative_to(ROOM)): found
        for path in ROOM.rglob("*.py")
        if (found := POSSESSIVE_GROUP.findall(path.read_text()))
    }

    assert found == {}
