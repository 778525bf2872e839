"""The pytest fixture ``fake_ollama``, registered when timestep is installed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from timestep.testing import FakeOllama


@pytest.fixture(scope="session")
def fake_ollama_recordings() -> Path | None:
    """Where ``fake_ollama.replay(name)`` looks names up; override it in your conftest."""
    return None


@pytest.fixture
def fake_ollama(
    request: pytest.FixtureRequest, fake_ollama_recordings: Path | None
) -> Iterator["FakeOllama"]:
    """Return a running :class:`~timestep.testing.FakeOllama`; what was not as scripted fails the test."""
    # Imported here: every pytest run of every project with timestep installed loads this module.
    from timestep.testing import FakeOllama  # noqa: PLC0415 - pytest loads this everywhere

    failed = request.session.testsfailed
    with FakeOllama(recordings=fake_ollama_recordings) as fake:
        yield fake
        # After a failed test the leftovers would only hide why it failed.
        fake.strict = fake.strict and request.session.testsfailed == failed
