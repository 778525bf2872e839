"""Registers timestep's pytest plug-in for the tree's own tests, installed or not."""

from pathlib import Path

import pytest

pytest_plugins = ["timestep.testing.pytest_plugin"]


@pytest.fixture(scope="session")
def fake_ollama_recordings() -> Path:
    """The exchanges recorded from a real server."""
    return Path(__file__).parent / "tests" / "wire"
