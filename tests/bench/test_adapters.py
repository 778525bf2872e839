"""What docs/comparison.md says of timestep is what ``bench.adapters`` sees."""

import re
from pathlib import Path

from bench.adapters import ADAPTERS, table

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"
FIRST_CELLS = re.compile(r"^\| (?!-)([^|]+) \| ([^|]+) \|", re.MULTILINE)


def test_the_page_says_what_timestep_does():
    [timestep] = [adapter for adapter in ADAPTERS if adapter.title == "timestep"]

    seen = dict(FIRST_CELLS.findall(table([timestep])))

    assert len(seen) == 15
    assert seen == dict(FIRST_CELLS.findall(PAGE.read_text()))
