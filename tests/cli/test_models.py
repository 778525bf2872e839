"""``timestep models``: what every provider offers."""

import json
from pathlib import Path

import httpx
import pytest

from timestep.testing import FakeOllama, Stall

CONFIGURATION = """\
default_model = "fast"
[aliases]
fast = "ollama/Qwen3:4b"
strong = "ollama/gpt-oss:120b-cloud"
gone = "ollama/qwen3:8b"
best = "openai/gpt-4.1"
"""


@pytest.fixture
def ollama(fake_ollama, monkeypatch):
    """A local server with two models, one of them loaded."""
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    fake_ollama.add_model("llama3.2", capabilities=("completion", "tools"), context_length=131072)
    fake_ollama.add_model("qwen3:4b", context_length=262144, size=2_500_000_000)
    loading = {"model": "qwen3:4b", "messages": [], "options": {"num_ctx": 8192}}
    httpx.post(f"{fake_ollama.url}/api/chat", json=loading)
    Path("timestep.toml").write_text(CONFIGURATION)
    return fake_ollama


def test_the_window_of_a_loaded_model_is_left_out_when_an_old_server_does_not_say_it(
    invoke, ollama
):
    ollama.fail(200, body='{"models": [{"name": "qwen3:4b"}]}', path="/api/ps", times=2)

    assert "default, fast, loaded\n" in invoke("models").stdout
    _, local = json.loads(invoke("models", "--json").stdout)
    [told] = [model for model in local["models"] if model["name"] == "ollama/qwen3:4b"]
    assert (told["loaded"], told["loaded_context"]) == (True, None)


def test_models_are_listed_with_what_they_can_do(invoke, ollama):
    result = invoke("models")

    assert result.exit_code == 0
    assert result.stdout == (
        f"ollama {ollama.url}\n"
        "  ollama/llama3.2  tools                  128k  2.02 GB\n"
        "  ollama/qwen3:4b  tools thinking vision  256k  2.5 GB   default, fast, "
        "loaded 8k\n\n"
    )
    assert result.stderr == (
        "OpenAI https://api.openai.com/v1\n"
        "  No key for OpenAI. Set OPENAI_API_KEY, or api_key in [openai].\n\n"
        "gone = ollama/qwen3:8b is not there. 'timestep pull ollama/qwen3:8b' loads it.\n"
    )


def test_every_server_of_a_list_is_shown(invoke, ollama, monkeypatch):
    with FakeOllama() as other:
        other.add_model("qwen3:8b")
        monkeypatch.setenv("OLLAMA_BASE_URL", f"{ollama.url},{other.url}")

        result = invoke("models")

    assert f"ollama {ollama.url}\n" in result.stdout
    assert f"ollama {other.url}\n  ollama/qwen3:8b" in result.stdout
    assert "is not there" not in result.stderr  # it is on the other one


def test_a_narrow_terminal_gets_lines_under_each_name(in_terminal, ollama):
    shown = in_terminal(60, "models", NO_COLOR="1")

    assert ("  ollama/qwen3:4b\n      tools thinking vision  256k  2.5 GB  default, fast,") in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60


def test_a_wide_terminal_gets_columns_and_bold_names(in_terminal, ollama):
    shown = in_terminal(120, "models")

    assert "  \x1b[1mollama/llama3.2\x1b[0m  tools                  128k" in shown


def test_models_can_be_read_by_programs(invoke, ollama):
    openai, local = json.loads(invoke("models", "--json").stdout)

    assert (openai["prefix"], openai["models"]) == ("", [])
    assert "OPENAI_API_KEY" in openai["problem"]
    assert (local["prefix"], local["kind"], local["url"]) == ("ollama", "ollama", ollama.url)
    assert local["models"][1] == {
        "name": "ollama/qwen3:4b",
        "capabilities": ["completion", "tools", "thinking", "vision"],
        "context_length": 262144,
        "size": 2500000000,
        "loaded": True,
        "loaded_context": 8192,
        "default": True,
        "aliases": ["fast"],
        "check": None,
    }
    assert local["models"][0]["loaded_context"] is None


def test_servers_that_list_no_capabilities_are_asked_for_each_model(invoke, fake_ollama):
    Path("timestep.toml").write_text(f'[ollama]\nhost = "{fake_ollama.url}"\n')
    fake_ollama.add_model("llama3.2", context_length=4096)
    old = {"models": [{"model": "llama3.2:latest"}, {"model": "lost:latest"}]}
    fake_ollama.fail(200, body=json.dumps(old), path="/api/tags")

    models = json.loads(invoke("models", "--json").stdout)[1]["models"]

    assert [(model["name"], model["context_length"]) for model in models] == [
        ("ollama/llama3.2", 4096),
        ("ollama/lost", None),
    ]
    assert "tools" in models[0]["capabilities"]
    assert models[1]["capabilities"] is None


def test_other_providers_are_listed_too(invoke, ollama):
    with Path("timestep.toml").open("a") as file:
        file.write(
            f'[openai]\nbase_url = "{ollama.url}/one"\napi_key = "k"\n'
            f'[providers.groq]\nkind = "openai"\nbase_url = "{ollama.url}/two"\n'
            f'[providers.gpu]\nkind = "ollama"\nbase_url = "{ollama.url}"\n'
            '[providers.claude]\nkind = "litellm"\n'
        )
    one = {"data": [{"id": "gpt-4.1"}], "object": "list"}
    two = [{"id": "b", "context_window": 131072}, {"id": "a", "max_model_len": 4096}]
    ollama.fail(200, body=json.dumps(one), path="/one/models")
    ollama.fail(200, body=json.dumps(two), path="/two/models")

    result = invoke("models")

    assert f"OpenAI {ollama.url}/one\n  gpt-4.1        best\n" in result.stdout
    assert f"groq {ollama.url}/two\n  groq/a    4k" in result.stdout
    assert "  groq/b    128k" in result.stdout
    assert "  gpu/qwen3:4b " in result.stdout
    assert "claude\n  Models of kind litellm cannot be listed" in result.stderr


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, '{"error":{"message":"no"}}', "answered 401: no. Check api_key"),
        (200, "<html>", "Check the base URL"),
        (
            200,
            '{"data": [{"name": "x"}]}',
            "answered with something other than a list of models. Check the base URL",
        ),
        (200, "7", "answered with something other than a list of models"),
    ],
)
def test_a_provider_that_refuses_does_not_hide_the_others(invoke, ollama, status, body, words):
    Path("timestep.toml").write_text(
        f'[providers.groq]\nkind = "openai"\nbase_url = "{ollama.url}/v1"\n'
    )
    ollama.fail(status, body=body, path="/v1/models")

    result = invoke("models")

    assert result.exit_code == 0
    assert "ollama/llama3.2" in result.stdout
    assert words in result.stderr


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, '{"error": "unauthorized"}', "answered 401: unauthorized."),
        (500, '{"error": "out of disk"}', "answered 500: out of disk."),
        (404, "404 page not found", "answered 404: 404 page not found."),
        (200, "<html>", "sent an answer that cannot be read. Is it an Ollama server?"),
        (200, "[]", "sent an answer that cannot be read. Is it an Ollama server?"),
        (200, '{"models": 5}', "sent an answer that cannot be read. Is it an Ollama server?"),
        (200, '{"models": [5]}', "sent an answer that cannot be read. Is it an Ollama server?"),
    ],
)
def test_an_ollama_server_that_refuses_does_not_hide_the_others(
    invoke, ollama, status, body, words
):
    with FakeOllama() as other:
        Path("timestep.toml").write_text(
            f'[providers.gpu]\nkind = "ollama"\nbase_url = "{other.url}"\n'
        )
        other.fail(status, body=body, path="/api/tags")
        result = invoke("models")

    assert result.exit_code == 0
    assert "ollama/llama3.2" in result.stdout
    assert words in " ".join(result.stderr.split())


def test_when_no_server_can_be_asked_the_command_fails(invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    fake_ollama.refuse()

    result = invoke("models")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Start it with 'ollama serve'" in result.stderr


def test_a_server_that_stays_silent_is_given_up(invoke, ollama):
    ollama.fail(200, body="", path="/api/tags", fault=Stall(), times=None)

    assert (
        f"No answer from {ollama.url} within 0.1 s" in invoke("models", "--timeout", "0.1").stderr
    )


def test_a_server_without_models_says_how_to_get_one(invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)

    assert "'timestep pull llama3.2' loads one." in invoke("models").stdout


def test_another_server_without_models_says_how_to_get_one(
    invoke, fake_ollama, fake_openai, monkeypatch
):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    Path("timestep.toml").write_text(
        f'[providers.lab]\nkind = "ollama"\nbase_url = "{fake_ollama.url}"\n'
        f'[providers.vllm]\nkind = "openai"\nbase_url = "{fake_openai.base_url}"\n'
    )
    shown = invoke("models").stdout
    assert f"lab {fake_ollama.url}\n  No models. 'timestep pull lab/llama3.2' loads one." in shown
    assert f"vllm {fake_openai.base_url}\n  The server lists no models." in shown


def test_names_that_would_steer_a_terminal_are_cleaned(invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    listed = {"models": [{"model": "\x1b[31m模型😀"}, {"model": "نموذج"}]}
    fake_ollama.fail(200, body=json.dumps(listed), path="/api/tags")
    fake_ollama.fail(404, "none", path="/api/show", times=None)

    assert "  ollama/[31m模型😀\n" in invoke("models").stdout


def test_a_wrong_configuration_ends_with_two(invoke):
    Path("timestep.toml").write_text("x = 1")

    assert invoke("models").exit_code == 2


LONG = "hf.co/unsloth/Qwen3-30B-A3B-Instruct-GGUF:Q4_K_M"


def test_a_terminal_of_80_columns_gets_a_line_for_each_model(in_terminal, ollama):
    ollama.add_model(LONG)

    lines = in_terminal(80, "models", NO_COLOR="1").splitlines()

    assert f"  ollama/{LONG}  tools thinking visio…" in lines
    assert (
        "  ollama/qwen3:4b               tools thinking vision  256k  2.5 GB   default,…" in lines
    )
    assert sum(line.startswith("  ollama/") for line in lines) == 3
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["QWEN"], ["ollama/qwen3:4b"]),
        (["tools"], ["ollama/llama3.2", "ollama/qwen3:4b"]),
        (["vision", "fast"], ["ollama/qwen3:4b"]),
    ],
)
def test_words_choose_models(invoke, ollama, words, names):
    [only] = json.loads(invoke("models", *words, "--json").stdout)

    assert [model["name"] for model in only["models"]] == names


def test_words_that_no_model_has_are_told(invoke, ollama):
    result = invoke("models", "qwen", "audio")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: No model has 'qwen' and 'audio'. Not asked: ")


def test_providers_that_nothing_uses_come_last(invoke, ollama):
    with Path("timestep.toml").open("a") as file:
        file.write(f'[providers.aaa]\nkind = "ollama"\nbase_url = "{ollama.url}"\n')
    body = {"data": [{"id": "gpt-4.1"}], "object": "list"}
    with Path("timestep.toml").open("a") as file:
        file.write(f'[openai]\nbase_url = "{ollama.url}/one"\napi_key = "k"\n')
    ollama.fail(200, body=json.dumps(body), path="/one/models")

    shown = invoke("models").stdout

    assert shown.index("OpenAI http") < shown.index("\nollama http") < shown.index("\naaa http")
