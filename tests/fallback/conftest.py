"""Servers for the second and third choice; fake_ollama is the first."""

import pytest

from tests.fallback.chains import chained, ollama
from timestep.testing import FakeOllama


@pytest.fixture
def second():
    """The server of the second choice; the first choice's is fake_ollama."""
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def third():
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def provider(fake_ollama, second, clock):
    return chained(clock, a=ollama(fake_ollama), b=ollama(second))
