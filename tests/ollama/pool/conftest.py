"""The servers of a pool, and the model on all of them."""

from contextlib import ExitStack

import pytest

from tests.ollama.pool.servers import model_on
from timestep.ollama.wire import Wire
from timestep.testing import FakeOllama


@pytest.fixture
def servers():
    """Four servers that have nothing to say yet."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeOllama()) for _ in range(4)]


@pytest.fixture
def model(servers, clock):
    """The model "m" on all of the servers."""
    return model_on(servers, clock)


@pytest.fixture
def asked(monkeypatch):
    """The URL of the server for every chat that is begun, also where no pool hears it."""
    urls = []
    chat = Wire.chat

    def noted(wire, *arguments):
        urls.append(wire.endpoint.base_url)
        return chat(wire, *arguments)

    monkeypatch.setattr(Wire, "chat", noted)
    return urls
