"""Registers timestep's pytest plug-in for the tree's own tests, installed or not."""

from pathlib import Path

import pytest

pytest_plugins = ["timestep.testing.pytest_plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which the viewer's tests write the pictures of the docs."""
    parser.addoption("--pictures", type=Path, metavar="DIR", help="Write the docs' pictures there.")


@pytest.fixture(scope="session")
def fake_ollama_recordings() -> Path:
    """The exchanges recorded from a real server."""
    return Path(__file__).parent / "tests" / "wire"
