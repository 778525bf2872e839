"""The real Runner, whole and streamed, in front of a provider whose server is FakeOllama."""

from dataclasses import dataclass, field

import pytest


@dataclass
class Run:
    """`Runner.run` or `Runner.run_streamed`, called alike.

    Attributes:
        is_streamed: Which of the two.
        events: The raw events of the last streamed run.
    """

    is_streamed: bool
    events: list = field(default_factory=list)

    async def __call__(self, agent, asked, **keywords):
        from agents import Runner  # noqa: PLC0415 - other tests need not wait for the SDK

        if not self.is_streamed:
            return await Runner.run(agent, asked, **keywords)
        self.events.clear()
        result = Runner.run_streamed(agent, asked, **keywords)
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                self.events.append(event.data)
        return result


@pytest.fixture(params=["whole", "streamed"])
def run(request):
    return Run(request.param == "streamed")


@pytest.fixture
def whole_and_streamed():
    """Both, for tests that compare them."""
    return Run(False), Run(True)


@pytest.fixture
def provider(fake_ollama):
    from timestep import OllamaModelProvider  # noqa: PLC0415 - as above

    return OllamaModelProvider(base_url=fake_ollama.url)


@pytest.fixture
def model(provider):
    return provider.get_model("m")


@pytest.fixture
def cloud_like(fake_ollama):
    """Builds a model on an endpoint that ignores ``format``, as Ollama Cloud does."""
    from timestep.ollama import OllamaModel  # noqa: PLC0415 - as above
    from timestep.ollama.capabilities import Catalogue  # noqa: PLC0415 - as above
    from timestep.ollama.client import Wire  # noqa: PLC0415 - as above
    from timestep.ollama.endpoint import Endpoint  # noqa: PLC0415 - as above
    from timestep.ollama.request import Abilities  # noqa: PLC0415 - as above

    class CloudLike(Catalogue):
        async def abilities(self, model, *, ask):
            known = await super().abilities(model, ask=ask)
            return Abilities(known.capabilities, enforces_format=False)

    def build(**settings):
        wire = Wire(Endpoint(fake_ollama.url))
        return OllamaModel("m", wire, catalogue=CloudLike(wire), **settings)

    return build
