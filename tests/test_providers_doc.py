"""Every block of docs/providers.md is a configuration that works."""

import re
from pathlib import Path

import pytest

from timestep.registry import MultiModelProvider

TEXT = (Path(__file__).parents[1] / "docs/providers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_leads_to_models(block, monkeypatch):
    for name in re.findall(r'"env:(\w+)"', block):
        monkeypatch.setenv(name, "a-key")
    Path("timestep.toml").write_text(block)
    provider = MultiModelProvider.from_env(check=True)
    prefixes = re.findall(r"\[providers\.(\w+)\]", block)

    assert prefixes or "default_model" in block
    for prefix in prefixes:
        assert provider.get_model(f"{prefix}/m").model == "m"
    if "default_model" in block:
        assert provider.get_model(None)
