"""A key goes only to its own host, and shows up nowhere."""

import copy
import pickle
import traceback

import ollama
import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, set_trace_processors, trace

from tests.spans import Spans
from timestep import (
    AuthenticationError,
    ConfigurationError,
    MultiModelProvider,
    OllamaError,
    OllamaModel,
    OllamaModelProvider,
    OllamaStatusError,
)
from timestep.testing import ErrorLine, FakeOllama, Reset, Stall

KEY = "sk-very-secret-0123456789"
QUIET = RunConfig(tracing_disabled=True)


def sent_keys(server):
    return [request.headers.get("authorization") for request in server.requests]


async def ask(model):
    return await Runner.run(Agent("a", model=model), "hi", run_config=QUIET)


async def test_a_key_reaches_the_base_url_it_was_given_with(fake_ollama):
    fake_ollama.require_key(KEY)
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(KEY, fake_ollama.url)

    await ask(provider.get_model("m"))

    assert sent_keys(fake_ollama) == [f"Bearer {KEY}"]


async def test_the_environments_key_reaches_no_other_host(monkeypatch, fake_ollama):
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    with FakeOllama() as second:
        monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
        provider = MultiModelProvider.from_env(
            providers={"gpu": {"kind": "ollama", "base_url": second.url}}
        )
        fake_ollama.reply("hi")
        second.reply("hi")

        await ask(provider.get_model("ollama/m"))
        await ask(provider.get_model("gpu/m"))

        assert sent_keys(fake_ollama) == [None]
        assert sent_keys(second) == [None]


async def test_the_environments_key_goes_to_no_other_host_with_ollamas_own_client(
    monkeypatch, fake_ollama, caplog
):
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    client = ollama.AsyncClient(fake_ollama.url)
    fake_ollama.reply("hi")

    await ask(OllamaModel("m", client))

    assert sent_keys(fake_ollama) == [None]
    assert "OLLAMA_API_KEY is for ollama.com" in caplog.text
    assert KEY not in caplog.text
    await client.close()


async def test_a_key_that_a_client_was_given_goes_to_its_host(monkeypatch, fake_ollama):
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-another")
    client = ollama.AsyncClient(fake_ollama.url, headers={"Authorization": f"Bearer {KEY}"})
    fake_ollama.reply("hi")

    await ask(OllamaModel("m", client))

    assert sent_keys(fake_ollama) == [f"Bearer {KEY}"]
    await client.close()


async def test_a_key_without_a_url_never_reaches_this_machine(fake_ollama):
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(KEY, local_url=fake_ollama.url)

    await ask(provider.get_model("m"))

    assert sent_keys(fake_ollama) == [None]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_post_follows_no_redirect_and_takes_no_key_along(fake_ollama, status):
    with FakeOllama() as second:
        fake_ollama.redirect(f"{second.url}/api/chat?token=abc", status=status)
        provider = OllamaModelProvider(KEY, fake_ollama.url)

        with pytest.raises(OllamaStatusError, match="follows no redirect") as caught:
            await ask(provider.get_model("m"))

        assert second.requests == []
        assert "token=abc" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://gpu.example:11434", "http://192.0.2.7"])
def test_a_key_in_the_clear_is_refused(url):
    with pytest.raises(ConfigurationError, match="https://"):
        OllamaModelProvider(KEY, url)

    OllamaModelProvider(KEY, url, allow_insecure=True)


async def test_a_key_the_server_repeats_is_in_no_error_and_no_span(fake_ollama):
    spans = Spans(lambda span: span.export())
    set_trace_processors([spans])
    fake_ollama.fail(401, f"the key {KEY} is wrong", headers={"X-Echo": f"Bearer {KEY}"})
    provider = OllamaModelProvider(KEY, fake_ollama.url)

    with trace("t"), pytest.raises(AuthenticationError) as caught:
        await Runner.run(Agent("a", model=provider.get_model("m")), "hi", run_config=RunConfig())
    set_trace_processors([])

    error = caught.value
    everywhere = [
        "".join(traceback.format_exception(error)),
        repr(error),
        repr(vars(error)),
        repr(pickle.loads(pickle.dumps(error))),
        repr(spans.ended),
        repr(provider),
        repr(vars(provider.get_model("m"))),
    ]
    assert spans.ended
    assert all(KEY not in text for text in everywhere)


@pytest.mark.parametrize("failure", ["refused", "reset", "redirect", "401", "500", "silence"])
async def test_a_crash_report_with_every_variable_shows_no_key(fake_ollama, transport, failure):
    match failure:
        case "refused":
            fake_ollama.refuse()
        case "reset":
            fake_ollama.reply("one two", fault=Reset(after=1))
        case "redirect":
            fake_ollama.redirect("https://elsewhere.example/")
        case "silence":
            fake_ollama.reply("one two", fault=Stall(1))
        case _:
            fake_ollama.fail(int(failure), f"no to Bearer {KEY}")
    limits = {"idle": 0.05} if failure == "silence" else None
    provider = OllamaModelProvider(KEY, fake_ollama.url, timeout=limits)

    with pytest.raises(OllamaError) as caught:
        await ask(provider.get_model("m"))

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in "".join(report.format())
    await provider.aclose()


async def test_headers_the_server_repeats_are_in_no_error(fake_ollama):
    words = "wrong: gateway-key-123456, call-key-7890123"
    fake_ollama.fail(401, words, headers={"X-Echo": words}, signin_url=f"https://x/?{words}")
    provider = OllamaModelProvider(
        base_url=fake_ollama.url, headers={"X-Gateway": "gateway-key-123456"}
    )
    settings = ModelSettings(extra_headers={"X-Call": "call-key-7890123"})
    agent = Agent("a", model=provider.get_model("m"), model_settings=settings)

    with pytest.raises(AuthenticationError) as caught:
        await Runner.run(agent, "hi", run_config=QUIET)

    ours = {name: value for name, value in vars(caught.value).items() if name != "run_data"}
    for text in (str(caught.value), repr(ours), repr(pickle.dumps(caught.value))):
        assert "gateway-key" not in text
        assert "call-key" not in text


@pytest.mark.parametrize(
    ("header", "said", "secret"),
    [
        ({"X-Api-Key": "s3cret12345"}, "no such key: s3cret12345", "s3cret12345"),
        ({"X-Api-Key": "abc123"}, "no such key: abc123", "abc123"),
        ({"Cookie": "session=SECRET; theme=dark"}, "the session SECRET is over", "SECRET"),
        ({"X-Pass": "my secret phrase"}, "wrong phrase", "phrase"),
    ],
)
@pytest.mark.parametrize("status", [400, 500, None])
async def test_no_part_of_a_header_is_repeated(fake_ollama, header, said, secret, status):
    if status is None:
        fake_ollama.reply("one two", fault=ErrorLine(said, after=0))
    else:
        fake_ollama.fail(status, said)
    provider = OllamaModelProvider(base_url=fake_ollama.url, headers=header)

    with pytest.raises(OllamaError) as caught:
        await Runner.run(Agent("a", model=provider.get_model("m")), "hi", run_config=QUIET)

    assert "***" in str(caught.value)
    assert secret not in f"{caught.value} {pickle.dumps(caught.value)!r}"


def test_a_provider_copies_and_pickles_without_its_connections():
    provider = OllamaModelProvider(KEY, "https://gpu.example", options={"num_ctx": 8192})
    provider.get_model("m")

    for other in (copy.deepcopy(provider), pickle.loads(pickle.dumps(provider))):
        assert other.get_model("m").model == "m"
        assert other.get_model("m") is not provider.get_model("m")


async def test_a_copy_of_a_model_answers_over_connections_of_its_own(fake_ollama):
    fake_ollama.require_key(KEY)
    fake_ollama.reply("hi", times=3)
    model = OllamaModelProvider(KEY, fake_ollama.url, options={"seed": 1}).get_model("m")
    await ask(model)

    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        await ask(other)
        assert other._source is not model._source
        assert other._source is other._catalogue._source

    assert [chat["options"] for chat in fake_ollama.chats] == [{"seed": 1}] * 3


def test_a_provider_of_every_prefix_is_copied_deeply():
    provider = MultiModelProvider(default_model="ollama/m")
    model = provider.get_model(None)

    other = copy.deepcopy(provider)

    assert other.get_model(None).model == "m"
    assert other.get_model(None) is not model


@pytest.mark.parametrize("argument", [{"api_key": "k"}, {"base_url": "http://localhost:1"}])
def test_a_client_goes_with_neither_key_nor_url(argument):
    class Client:
        async def chat(self, **keywords):
            return {}

    with pytest.raises(ConfigurationError, match="leave out"):
        OllamaModelProvider(ollama_client=Client(), **argument)
