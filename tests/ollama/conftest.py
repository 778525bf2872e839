"""A provider whose server is FakeOllama, and the ways a request can travel."""

import socket

import pytest


@pytest.fixture(params=["aiohttp", "httpx"])
def transport(request, monkeypatch):
    """Every way a request can travel: the second is that of a client that was given."""
    if request.param == "httpx":
        from timestep.net import http  # noqa: PLC0415 - other tests need not wait for aiohttp

        monkeypatch.setattr(http, "Session", _over_httpx)
    return request.param


def _over_httpx(base_url, connect_timeout, reach):
    import httpx  # noqa: PLC0415 - as above

    from timestep.net.given_client import HttpxClient  # noqa: PLC0415 - as above

    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=connect_timeout), limits=limits)
    return HttpxClient(client, is_own=True)


@pytest.fixture
def provider(fake_ollama):
    from timestep import OllamaModelProvider  # noqa: PLC0415 - other tests need not wait for the SDK

    return OllamaModelProvider(base_url=fake_ollama.url)


@pytest.fixture
def model(provider):
    return provider.get_model("m")


@pytest.fixture
def cloud_like(fake_ollama):
    """Builds a model on an endpoint that ignores ``format``, as Ollama Cloud does."""
    from timestep.ollama import OllamaModel  # noqa: PLC0415 - as above
    from timestep.ollama.capabilities import Catalogue  # noqa: PLC0415 - as above
    from timestep.ollama.endpoint import Endpoint  # noqa: PLC0415 - as above
    from timestep.ollama.request.build import Abilities  # noqa: PLC0415 - as above
    from timestep.ollama.wire import Wire  # noqa: PLC0415 - as above

    class CloudLike(Catalogue):
        async def abilities(self, model, *, ask):
            known = await super().abilities(model, ask=ask)
            return Abilities(known.capabilities, enforces_format=False)

    def build(**settings):
        wire = Wire(Endpoint(fake_ollama.url))
        return OllamaModel("m", wire, catalogue=CloudLike(wire), **settings)

    return build


@pytest.fixture
def deaf_address():
    """Where connections are neither taken nor refused: the queue of the listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for end in waiting:
            end.setblocking(False)
            end.connect_ex(listener.getsockname())
        yield listener.getsockname()
        for end in waiting:
            end.close()
