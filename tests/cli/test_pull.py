"""``timestep pull``: progress on stderr, the result on stdout."""

import json
import signal
from pathlib import Path

import pytest

from timestep.cli.figures import file_size
from timestep.testing import FakeOllama, Stall

DIGEST = "sha256:dde5aa3fc5ffc17176b5e8bdc82f587b24b2678c6c66101bf7da77af9f7ccdff"


@pytest.fixture(autouse=True)
def local(fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)


def body(*documents):
    return "".join(json.dumps(document) + "\n" for document in documents)


def test_a_pull_lists_its_steps_and_says_when_it_is_done(invoke, fake_ollama):
    result = invoke("pull", "llama3.2")

    assert (result.exit_code, result.stdout) == (
        0,
        f"ollama/llama3.2 is ready on {fake_ollama.url}\n",
    )
    manifest, begin, half, end, *rest = result.stderr.splitlines()
    assert manifest == "pulling manifest"
    assert [line.split(maxsplit=1)[1] for line in (begin, half, end)] == [
        "0% of 2.02 GB",
        "50% of 2.02 GB",
        "100% of 2.02 GB",
    ]
    assert rest == ["verifying sha256 digest", "writing manifest", "success"]


def test_every_server_of_a_list_gets_the_model(invoke, fake_ollama, monkeypatch):
    with FakeOllama() as other:
        monkeypatch.setenv("OLLAMA_BASE_URL", f"{fake_ollama.url},{other.url}")

        result = invoke("pull", "llama3.2", "--json")

        assert json.loads(result.stdout) == {
            "model": "ollama/llama3.2",
            "server": f"{fake_ollama.url}, {other.url}",
        }
        assert [r.path for s in (fake_ollama, other) for r in s.requests] == ["/api/pull"] * 2


def test_layers_that_interleave_are_listed_once_a_tenth(invoke, fake_ollama):
    layers = [
        {"status": "pulling", "digest": digest, "total": 1000, "completed": done}
        for done in (0, 50, 100, 150)
        for digest in ("sha256:aaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbb")
    ]
    fake_ollama.fail(200, body=body(*layers, {"status": "success"}), path="/api/pull")

    assert invoke("pull", "llama3.2").stderr.splitlines() == [
        "aaaaaaaaaaaa 0% of 1 kB",
        "bbbbbbbbbbbb 0% of 1 kB",
        "aaaaaaaaaaaa 10% of 1 kB",
        "bbbbbbbbbbbb 10% of 1 kB",
        "success",
    ]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("llama3.2", "llama3.2"),
        ("ollama/llama3.2", "llama3.2"),
        ("fast", "qwen3:4b"),
        (
            "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF",
            "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF",
        ),
    ],
)
def test_a_name_is_ollama_s_own_or_has_a_prefix_or_is_an_alias(
    invoke, fake_ollama, monkeypatch, name, model
):
    monkeypatch.setenv("TIMESTEP_ALIASES__FAST", "ollama/qwen3:4b")

    result = invoke("pull", name, "--json")

    assert fake_ollama.requests[0].json["model"] == model
    assert json.loads(result.stdout) == {"model": f"ollama/{model}", "server": fake_ollama.url}


def test_another_ollama_is_reached_by_its_prefix(invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
    Path("timestep.toml").write_text(
        f'[providers.gpu]\nkind = "ollama"\nbase_url = "{fake_ollama.url}"\n'
    )

    assert invoke("pull", "gpu/llama3.2").stdout.startswith("gpu/llama3.2 is ready")


@pytest.mark.parametrize("name", ["openai/gpt-4.1", "groq/x"])
def test_the_models_of_others_are_not_pulled(invoke, fake_ollama, name):
    Path("timestep.toml").write_text(
        '[providers.groq]\nkind = "openai"\nbase_url = "https://example.com/v1"\n'
    )
    result = invoke("pull", name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "not an Ollama model" in result.stderr


def test_a_cloud_model_needs_no_pull(invoke, fake_ollama):
    result = invoke("pull", "gpt-oss:120b-cloud")

    assert result.stdout == (
        "gpt-oss:120b-cloud runs at https://ollama.com; there is nothing to pull.\n"
    )
    assert not fake_ollama.requests


def test_a_model_that_does_not_exist_says_where_to_look(invoke, fake_ollama):
    fake_ollama.fail(
        200, body=body({"error": "pull model manifest: file does not exist"}), path="/api/pull"
    )
    result = invoke("pull", "llama9")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "No registry has 'llama9'. https://ollama.com/search" in result.stderr


def test_an_end_without_success_is_no_success(invoke, fake_ollama):
    fake_ollama.fail(200, body=body({"status": "pulling manifest"}), path="/api/pull")

    result = invoke("pull", "llama3.2")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Pull again: what is loaded is kept." in result.stderr


@pytest.mark.parametrize("name", ["", "ollama/"])
def test_an_empty_name_is_refused(invoke, fake_ollama, name):
    assert invoke("pull", name).exit_code == 1
    assert not fake_ollama.requests


def test_a_server_that_is_not_there_says_how_to_start_it(invoke, fake_ollama):
    fake_ollama.refuse()

    assert "ollama serve" in invoke("pull", "llama3.2").stderr


def test_ctrl_c_stops_the_server_and_says_how_to_go_on(start, fake_ollama):
    fake_ollama.fail(200, body=body({"status": "wait"}), path="/api/pull", fault=Stall(after=1))
    process = start("pull", "llama3.2")
    assert process.stderr.readline() == "wait\n"

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()

    assert process.returncode == 130
    assert "The same command continues from here." in stderr
    assert "Traceback" not in stderr
    fake_ollama.wait_for_disconnect()


@pytest.mark.parametrize("columns", [60, 120])
def test_a_terminal_gets_a_bar_for_every_layer(fake_ollama, in_terminal, columns):
    layer = {"status": "pulling dde5aa3fc5ff", "digest": DIGEST, "total": 2_000_000_000}
    fake_ollama.fail(
        200,
        body=body(
            {"status": "pulling manifest"},
            layer,
            {**layer, "completed": 2_000_000_000},
            {"status": "success"},
            {"status": "success"},
        ),
        path="/api/pull",
    )
    shown = in_terminal(columns, "pull", "llama3.2")

    assert "pulling manifest" in shown
    last = shown[shown.rindex("dde5aa3fc5ff") :]
    assert "2.0/2.0 GB" in last
    assert "success" not in shown
    assert shown.endswith(f"ollama/llama3.2 is ready on {fake_ollama.url}\n")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (999_999, "1 MB"),
        (999_999_999, "1 GB"),
        (2_019_377_376, "2.02 GB"),
        (5e12, "5 TB"),
        (2**63 - 1, "9.22 EB"),
    ],
)
def test_sizes_are_shown_for_people(count, text):
    assert file_size(count) == text
