"""Completion: scripts for three shells, and names to complete."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from timestep.cli import inventory
from timestep.testing import FakeOllama, Stall

PATIENCE = 60.0
"""Seconds that a server has to answer: no test may depend on the product's half second."""

CONFIGURATION = 'default_model = "fast"\n[aliases]\nfast = "ollama/qwen3:4b"\n'


@pytest.fixture
def ollama(fake_ollama, monkeypatch):
    """A local server with three models."""
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    monkeypatch.setattr(inventory, "_KEY_PRESS", PATIENCE)
    Path("timestep.toml").write_text(CONFIGURATION)
    for name in ("llama3.2", "qwen3:4b", "qwen3:8b"):
        fake_ollama.add_model(name)
    return fake_ollama


@pytest.fixture
def fish(invoke):
    """What fish is offered for a command line."""

    def run(line):
        words = {"COMP_WORDS": line, "COMP_CWORD": line.rsplit(" ", 1)[-1]}
        result = invoke(env={"_TIMESTEP_COMPLETE": "fish_complete", **words})
        return [item.split(",", 1)[1].split("\t")[0] for item in result.stdout.splitlines() if item]

    return run


@pytest.fixture
def bash(invoke, tmp_path):
    """What bash itself offers for a command line, by the script we print."""
    script = tmp_path / "timestep.bash"
    script.write_text(invoke("completion", "bash").stdout)
    program = tmp_path / "bin" / "timestep"
    program.parent.mkdir()
    root = Path(__file__).parents[2]
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        "from timestep.cli import inventory, main\n"
        f"inventory._KEY_PRESS = {PATIENCE}\n"
        "main(prog_name='timestep')\n"
    )
    program.chmod(0o755)

    def run(line, breaks=None):
        # Bash's own splitting: at spaces, and at colons and equals signs.
        change = "" if breaks is None else f"COMP_WORDBREAKS={breaks!r}; "
        words = line.replace(":", " : ").replace("=", " = ").split(" ")
        text = (
            f"PATH={program.parent}:$PATH; source {script}; {change}COMP_LINE='{line}'; "
            f"COMP_POINT={len(line)}; COMP_WORDS=({' '.join(words)}); "
            f"COMP_CWORD={len(words) - 1}; _timestep_completion timestep; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", text], capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    return run


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _timestep_completion timestep"),
        ("zsh", "#compdef timestep"),
        ("fish", "complete --no-files --command timestep"),
    ],
)
def test_a_script_is_printed_for_every_shell(invoke, shell, line):
    result = invoke("completion", shell)

    assert (result.exit_code, result.stderr) == (0, "")
    assert line in result.stdout


@pytest.mark.parametrize(
    "option", ["--agent", "--image", "--config", "--output-schema", "--env-file"]
)
def test_the_shell_completes_files(invoke, option):
    words = {"COMP_LINE": f"timestep run {option} de", "COMP_BREAKS": ":"}

    result = invoke(env={"_TIMESTEP_COMPLETE": "bash_complete", **words})

    assert result.stdout == "file,de\n"


def test_the_help_shows_a_line_to_copy_for_every_shell(invoke):
    shown = invoke("completion", "--help").stdout

    assert """bash:  echo 'eval "$(timestep completion bash)"' >> ~/.bashrc\n""" in shown


def test_another_shell_is_refused(invoke):
    assert invoke("completion", "csh").exit_code == 2


def test_commands_are_completed(fish):
    assert {"run", "pull", "doctor"} <= set(fish("timestep "))
    assert fish("timestep ru") == ["run"]


@pytest.mark.parametrize(
    "command",
    [
        "run --model ",
        "run -m ",
        "chat -m ",
        "render --model ",
        "pull ",
        "run --config x.toml -m ",
        "traces replay last --model ",
        "traces --config x.toml replay last --model ",
    ],
)
def test_models_are_completed_from_the_configuration_and_the_server(fish, ollama, command):
    Path("x.toml").write_text(CONFIGURATION)

    assert fish(f"timestep {command}") == [
        "fast",
        "ollama/llama3.2",
        "ollama/qwen3:4b",
        "ollama/qwen3:8b",
    ]


@pytest.mark.parametrize(
    ("command", "offered"),
    [
        ("traces list --model ", ["ollama/llama3.2", "ollama/qwen3:4b"]),
        ("traces list --model ollama/q", ["ollama/qwen3:4b"]),
        ("traces list --agent ", ["timestep run"]),
        ("traces --file nothing.db list --model ", []),
        ("traces --file timestep.toml list --model ", []),
        ("traces --config missing.toml list --model ", []),
    ],
)
def test_filters_are_completed_from_the_record(fish, ollama, invoke, command, offered):
    for name in ("llama3.2", "qwen3:4b"):
        ollama.reply("ok")
        invoke("run", "Hi", "--model", f"ollama/{name}")

    assert fish(f"timestep {command}") == offered
    assert not Path("nothing.db").exists()


def test_another_ollama_is_asked_under_its_prefix(fish, ollama):
    with Path("timestep.toml").open("a") as file:
        file.write(f'[providers.gpu]\nkind = "ollama"\nbase_url = "{ollama.url}"\n')

    assert fish("timestep pull gpu/q") == ["gpu/qwen3:4b", "gpu/qwen3:8b"]


def test_every_server_of_a_list_is_asked(fish, ollama, monkeypatch):
    with FakeOllama() as other:
        other.add_model("llama3.2")
        other.add_model("elsewhere")
        monkeypatch.setenv("OLLAMA_BASE_URL", f"{ollama.url},{other.url}")

        assert fish("timestep run --model ollama/") == [
            "ollama/elsewhere",
            "ollama/llama3.2",
            "ollama/qwen3:4b",
            "ollama/qwen3:8b",
        ]


def test_no_key_is_sent(fish, ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "geheim")
    fish("timestep pull ")

    assert "authorization" not in ollama.requests[0].headers


@pytest.mark.parametrize(
    "body", ["<html>", "7", "{}", '{"models": 7}', '{"models": [7, {"name": 7}]}']
)
def test_an_odd_answer_offers_nothing(fish, ollama, body):
    ollama.fail(200, body=body, path="/api/tags")

    assert fish("timestep pull ") == ["fast"]


def test_a_server_that_is_not_there_offers_nothing(fish, ollama):
    ollama.refuse()

    assert fish("timestep pull ") == ["fast"]


def test_a_server_that_stays_silent_is_not_waited_for(fish, ollama, monkeypatch):
    monkeypatch.setattr(inventory, "_KEY_PRESS", 0.1)
    ollama.fail(200, body="", path="/api/tags", fault=Stall(), times=None)

    assert fish("timestep pull ") == ["fast"]


def test_a_name_that_is_looked_up_for_ever_is_not_waited_for(fish, monkeypatch):
    is_over = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **keywords: is_over.wait() and [])
    Path("timestep.toml").write_text(CONFIGURATION + '[ollama]\nhost = "far.example"\n')

    assert fish("timestep pull ") == ["fast"]
    assert not is_over.is_set()
    is_over.set()


def test_a_wrong_configuration_offers_nothing(fish):
    Path("timestep.toml").write_text("x = 1")

    assert fish("timestep pull ") == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("timestep ru", ["run"]),
        ("timestep run --model ollama/q", ["ollama/qwen3:4b", "ollama/qwen3:8b"]),
        ("timestep run --model ollama/qwen3:", ["4b", "8b"]),
        ("timestep run --model=ollama/qwen3:4", ["4b"]),
        ("timestep run --model=fa", ["fast"]),
        (
            "timestep run --model ",
            ["fast", "ollama/llama3.2", "ollama/qwen3:4b", "ollama/qwen3:8b"],
        ),
    ],
)
def test_bash_completes_names_with_colons(bash, ollama, line, offered):
    assert bash(line) == offered


def test_bash_that_breaks_at_no_colon_gets_whole_names(bash, ollama):
    assert bash("timestep pull ollama/qwen3:4", breaks=" \t") == ["ollama/qwen3:4b"]


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("completion", "bash"), {}),
        ((), {"_TIMESTEP_COMPLETE": "fish_complete", "COMP_WORDS": "timestep run -m "}),
    ],
)
def test_completion_does_not_import_the_sdk(arguments, variables, imported_by, ollama):
    imported = imported_by(*arguments, COMP_CWORD="", **variables)

    assert "click" in imported
    assert not imported & {"agents", "openai", "timestep.errors", "timestep.ollama.wire"}


def test_the_class_that_names_the_settings_is_asked_for_names(fish, ollama):
    Path("app.py").write_text(
        "from timestep import Settings\n\n\n"
        "class AppSettings(Settings):\n"
        "    def __init__(self, **values):\n"
        "        super().__init__(aliases={'of-app': 'ollama/x'}, **values)\n"
    )

    assert "of-app" in fish("timestep run --settings app.py:AppSettings -m of")
    assert "of-app" not in fish("timestep run -m of")


def test_conversations_are_completed_newest_first(fish, invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    for name in ("ann", "bob", "anton"):
        fake_ollama.reply("ok")
        invoke("run", "Hi", "--session", name, "--model", "ollama/m")

    assert fish("timestep chat --session an") == ["anton", "ann"]


def test_recorded_runs_are_completed_by_their_ids(fish, invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    fake_ollama.reply("ok")
    invoke("run", "Hi", "--model", "ollama/m")
    [run] = json.loads(invoke("traces", "list", "--json").stdout)
    begin = run["trace_id"].removeprefix("trace_")[:3]

    [found] = fish(f"timestep traces show {begin}")

    assert run["trace_id"].removeprefix("trace_").startswith(found)
    assert fish("timestep traces diff las") == ["last"]
