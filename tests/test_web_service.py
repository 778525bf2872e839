"""The example of a web service: answers, streams, and failures as status codes."""

import runpy
from pathlib import Path

import pytest
from agents import set_trace_processors
from starlette.testclient import TestClient

from timestep.testing import Stall

EXAMPLE = Path(__file__).parents[1] / "examples" / "web_service.py"


@pytest.fixture
def client(fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/m")
    with TestClient(runpy.run_path(str(EXAMPLE))["app"]) as client:
        yield client


def test_a_question_is_answered(client, fake_ollama):
    fake_ollama.reply("Paris.")

    assert client.post("/ask", json={"question": "?"}).json() == {"answer": "Paris."}


def test_an_answer_is_streamed(client, fake_ollama):
    fake_ollama.reply("one two three")

    with client.stream("POST", "/stream", json={"question": "?"}) as response:
        assert response.status_code == 200
        assert "".join(response.iter_text()) == "one two three"


@pytest.mark.parametrize("path", ["/ask", "/stream"])
@pytest.mark.parametrize(
    ("status", "words", "expected", "name"),
    [
        (503, "server busy", 503, "ServerBusyError"),
        (429, "too many requests", 429, "RateLimitError"),
        (401, "unauthorized", 500, "AuthenticationError"),
        (404, "model 'm' not found", 500, "ModelNotFoundError"),
    ],
)
def test_a_failure_before_the_first_word_is_a_status(
    client, fake_ollama, path, status, words, expected, name
):
    fake_ollama.fail(status, words, times=None, headers={"Retry-After": "7"})

    response = client.post(path, json={"question": "?"})

    assert (response.status_code, response.json()) == (expected, {"error": name})
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("path", ["/ask", "/stream"])
@pytest.mark.parametrize(("status", "expected"), [(429, 429), (500, 503), (401, 500)])
def test_a_failure_of_openai_is_a_status(fake_openai, monkeypatch, path, status, expected):
    monkeypatch.setenv("OPENAI_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    set_trace_processors([])  # the SDK's own would reach the real OpenAI
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "gpt-4.1")
    fake_openai.fail(status, "no", times=None, headers={"x-should-retry": "false"})
    with TestClient(runpy.run_path(str(EXAMPLE))["app"]) as client:
        assert client.post(path, json={"question": "?"}).status_code == expected


@pytest.mark.parametrize("path", ["/ask", "/stream"])
@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"5", b'{"q": 1}', b"\xff"])
def test_a_request_without_a_question_is_the_client_s_mistake(client, path, body):
    assert client.post(path, content=body).status_code == 400


def test_a_server_that_is_down_is_a_status(client, fake_ollama):
    fake_ollama.refuse()

    response = client.post("/ask", json={"question": "?"})

    assert (response.status_code, response.json()) == (503, {"error": "OllamaConnectionError"})


def test_a_silent_server_is_a_status(fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/m")
    monkeypatch.setenv("TIMESTEP_OLLAMA__TIMEOUT__FIRST_BYTE", "0.1")
    fake_ollama.reply("lost", fault=Stall(0))
    with TestClient(runpy.run_path(str(EXAMPLE))["app"]) as client:
        assert client.post("/ask", json={"question": "?"}).status_code == 504
