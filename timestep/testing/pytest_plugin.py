"""The pytest fixtures ``fake_ollama`` and ``fake_openai``, registered when timestep is installed."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from timestep.testing import FakeOllama, FakeOpenAI
    from timestep.testing.scripted import ScriptedServer


@pytest.fixture(scope="session")
def fake_ollama_recordings() -> Path | None:
    """Where ``fake_ollama.replay(name)`` looks names up; override it in your conftest."""
    return None


@pytest.fixture(scope="session")
def fake_openai_recordings() -> Path | None:
    """Where ``fake_openai.replay(name)`` looks names up; override it in your conftest."""
    return None


@pytest.fixture
def fake_ollama(
    request: pytest.FixtureRequest, fake_ollama_recordings: Path | None
) -> Iterator["FakeOllama"]:
    """Return a running `FakeOllama`; what was not as scripted fails the test."""
    # Imported here: every pytest run of every project with timestep installed loads this module.
    from timestep.testing import FakeOllama  # noqa: PLC0415 - pytest loads this everywhere

    with FakeOllama(recordings=fake_ollama_recordings) as fake, _strict_when_passed(request, fake):
        yield fake


@pytest.fixture
def fake_openai(
    request: pytest.FixtureRequest, fake_openai_recordings: Path | None
) -> Iterator["FakeOpenAI"]:
    """Return a running `FakeOpenAI`; what was not as scripted fails the test."""
    from timestep.testing import FakeOpenAI  # noqa: PLC0415 - as above

    with FakeOpenAI(recordings=fake_openai_recordings) as fake, _strict_when_passed(request, fake):
        yield fake


@contextmanager
def _strict_when_passed(request: pytest.FixtureRequest, fake: "ScriptedServer") -> Generator[None]:
    failed = request.session.testsfailed
    yield
    # After a failed test the leftovers would only hide why it failed.
    fake.strict = fake.strict and request.session.testsfailed == failed
