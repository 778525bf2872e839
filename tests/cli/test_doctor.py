"""``timestep doctor``: what is wrong, and what fixes it."""

import asyncio
import json
import socket
import sys
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from timestep.cli.doctor.checks import check_models, check_ollama, check_other
from timestep.cli.event_loop import run_without_waiting
from timestep.cli.inventory import ConfiguredModel, Inventory, Offer
from timestep.config.checks import doubts_of_variable
from timestep.config.settings import load_settings
from timestep.ollama.server_info import Server
from timestep.testing import FakeOllama, Stall


@pytest.fixture
def ollama(fake_ollama, monkeypatch):
    """A local server with a model, which is the default."""
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/llama3.2")
    fake_ollama.add_model("llama3.2", capabilities=("completion", "tools"), context_length=131072)
    return fake_ollama


@pytest.fixture
def findings(invoke):
    """Run the doctor; the findings that are not simply good, by status and text."""

    def run(*arguments, exit_code=0):
        result = invoke("doctor", "--json", *arguments)
        assert result.exit_code == exit_code, result.output
        found = json.loads(result.stdout)
        assert (exit_code == 1) == any(entry["status"] == "problem" for entry in found)
        return {
            (entry["status"], entry["text"]): entry["fix"]
            for entry in found
            if entry["area"] != "OpenAI https://api.openai.com/v1"
        }

    return run


def load(ollama, name, num_ctx):
    body = {"model": name, "messages": [], "options": {"num_ctx": num_ctx}}
    httpx.post(f"{ollama.url}/api/chat", json=body)


def fixes(found, status):
    return {text: fix for (kind, text), fix in found.items() if kind == status}


def test_a_sound_setup_is_told_on_one_screen(invoke, ollama):
    load(ollama, "llama3.2", 16384)
    Path("timestep.toml").write_text("[ollama.options]\nnum_ctx = 16384\n")

    result = invoke("doctor")

    assert result.exit_code == 0
    assert result.stdout == (
        "configuration\n"
        "  ok       Read timestep.toml and the environment.\n"
        "  ok       The default model is ollama/llama3.2.\n"
        "\n"
        "OpenAI https://api.openai.com/v1\n"
        "  note     No key for OpenAI. Set OPENAI_API_KEY, or api_key in [openai].\n"
        "           export OPENAI_API_KEY=…\n"
        "\n"
        f"ollama {ollama.url}\n"
        "  ok       Ollama 0.33.0: 1 model, 1 loaded.\n"
        "  note     Not signed in to ollama.com; only cloud models through this server\n"
        "           need that.\n"
        "           https://ollama.com/connect?name=test&key=dGVzdA\n"
        "\n"
        "models\n"
        "  ok       ollama/llama3.2 (default) has tools.\n"
        "  ok       ollama/llama3.2 (default) is loaded with 16,384 tokens of context.\n"
    )
    assert result.stderr == (
        "\n2 notes.\n'timestep check' finds out whether the models can drive an agent.\n"
    )


def test_a_narrow_terminal_gets_narrow_lines_and_whole_commands(in_terminal, ollama):
    shown = in_terminal(60, "doctor", NO_COLOR="1", OLAMA_HOST="x")

    assert "\x1b" not in shown
    assert '           export OLLAMA_HOST="$OLAMA_HOST"; unset OLAMA_HOST\n' in shown
    words = [line for line in shown.splitlines() if "export" not in line]
    assert max(map(len, words)) <= 60


def test_a_terminal_gets_colours(in_terminal, ollama):
    assert "\x1b[32m  ok" in in_terminal(120, "doctor")


def test_every_wrong_setting_is_a_problem(findings):
    Path("timestep.toml").write_text('[olama]\nx = 1\n[ollama]\nbase_url = "x"\n')

    found = findings(exit_code=1)

    problems = "\n".join(fixes(found, "problem"))
    assert "olama.x (timestep.toml:2): unknown setting" in problems or "olama" in problems
    assert "ollama.base_url (timestep.toml:4): a base URL starts with http" in problems
    assert "then the servers and models are checked" in "".join(fixes(found, "note"))


@pytest.mark.parametrize(
    ("text", "words"),
    [("x = ", "is not valid TOML"), ("[ollama.options]\nnum_ctx = 'much'", "num_ctx")],
)
def test_a_configuration_that_cannot_be_read_is_a_problem(findings, text, words):
    Path("timestep.toml").write_text(text)

    assert words in "".join(fixes(findings(exit_code=1), "problem"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OLAMA_HOST", "OLLAMA_HOST"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("OPENAI_API_BASE", "OPENAI_BASE_URL"),
        ("TIMSTEP_DEFAULT_MODEL", "TIMESTEP_DEFAULT_MODEL"),
        ("timestp_openai__api", "TIMESTEP_OPENAI__API"),
        ("OLLAMA_KEEP_ALIVE", None),
        ("OPENAI_DEFAULT_MODEL", None),
        ("OLLAMA_HOST", None),
        ("TIMESTEP_DEFAULT_MODL", None),
        ("HOME", None),
    ],
)
def test_variables_with_a_slip_are_told(name, meant):
    told = [doubt.text for doubt in doubts_of_variable(name)]

    words = f"No setting is read from the variable {name}. Did you mean {meant}?"
    assert told == ([words] if meant else [])


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OPENAI_API_KEY_FILE": "x"}, "No setting is read from the variable OPENAI_API_KEY_FILE."),
        ({"TIMESTEP_OLLAMA__OPTIONS__NUMCTX": "1"}, "no option of Ollama; did you mean 'num_ctx'?"),
        (
            {"OLLAMA_BASE_URL": "http://127.0.0.1:9"},
            "ollama.host (environment variable OLLAMA_HOST)",
        ),
        ({"TIMESTEP_ALIASES__A": "zz/x"}, "a = zz/x cannot be used: Unknown prefix: zz."),
        ({"TIMESTEP_ALIASES__A": "["}, "this begins as a JSON list and is not one"),
    ],
)
def test_strictly_a_doubt_about_the_configuration_is_a_problem_and_no_server_is_asked(
    invoke, ollama, monkeypatch, variables, words
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = invoke("doctor", "--strict", "--json")

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert any(words in each["text"] for each in found if each["status"] == "problem")
    assert ollama.requests == []


def test_strictly_a_directory_called_dot_env_is_a_problem(invoke, ollama):
    Path(".env").mkdir()

    assert invoke("doctor").exit_code == 0
    result = invoke("doctor", "--strict")
    assert result.exit_code == 1
    assert ".env is a directory" in result.stdout


def test_strictly_a_warning_about_a_model_counts(invoke, ollama):
    assert invoke("doctor", "--strict").exit_code == 0
    ollama.add_model("llama3.2", capabilities=("completion",), context_length=131072)

    assert invoke("doctor").exit_code == 0
    assert invoke("doctor", "--strict").exit_code == 1


def test_every_model_of_a_default_list_is_checked(invoke, ollama, monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", '["ollama/gone", "spare"]')
    monkeypatch.setenv("TIMESTEP_ALIASES__SPARE", "ollama/llama3.2")

    shown = " ".join(invoke("doctor").stdout.split())

    assert "is ollama/gone, then spare, which is ollama/gone, then ollama/llama3.2." in shown
    assert "ollama/gone (default) is not pulled" in shown
    assert "ollama/llama3.2 (default, spare) has tools" in shown


def test_every_server_of_a_list_is_checked(invoke, ollama, monkeypatch):
    with FakeOllama() as other:
        monkeypatch.setenv("OLLAMA_BASE_URL", f"{ollama.url},{other.url}")
        other.refuse()

        shown = invoke("doctor").stdout

    assert f"ollama {ollama.url}\n  ok       Ollama 0.33.0: 1 model, 0 loaded." in shown
    assert f"ollama {other.url}\n  problem  Cannot reach Ollama at {other.url}" in shown


def test_without_a_default_model_the_doctor_says_how_to_set_one(findings, ollama, monkeypatch):
    monkeypatch.delenv("TIMESTEP_DEFAULT_MODEL")

    notes = fixes(findings(), "note")

    assert "export TIMESTEP_DEFAULT_MODEL=ollama/llama3.2" in notes.values()


def test_a_server_that_is_wanted_and_not_there_is_a_problem(findings, ollama):
    ollama.refuse()

    [problem, nothing] = fixes(findings(exit_code=1), "problem")

    assert "Start it with 'ollama serve'" in problem
    assert nothing.startswith("No model can be used yet")


def test_a_local_server_that_no_setting_names_is_a_note(findings, fake_ollama, monkeypatch):
    other = {"data": [{"id": "gpt-4.1"}]}
    fake_ollama.fail(200, body=json.dumps(other), path="/v1/models")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{fake_ollama.url}/v1")
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "gpt-4.1")

    found = findings()

    assert ("ok", "gpt-4.1 (default) is there.") in found


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.12.3", "silently cuts a prompt that is too long; it gives tool calls no ids"),
        ("0.12.10", "gives all tool calls of an answer the same index"),
        ("0.17.4", None),
        ("0.0.0", None),
        ("odd", None),
        (None, None),
    ],
)
def test_versions_with_known_faults_are_told(findings, ollama, version, words):
    body = json.dumps({"version": version} if version else {})
    ollama.fail(200, body=body, path="/api/version")

    warnings = fixes(findings(), "warning")

    assert [words in text for text in warnings] == ([True] if words else [])


def test_a_model_that_is_not_pulled_is_a_problem(findings, ollama, monkeypatch):
    monkeypatch.setenv("TIMESTEP_ALIASES__BIG", "ollama/llama3.3")

    assert fixes(findings(exit_code=1), "problem") == {
        "ollama/llama3.3 (big) is not pulled.": "timestep pull ollama/llama3.3"
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zz/x", "default = zz/x cannot be used: Unknown prefix: zz. "),
        ("gone", "default = zz/notthere cannot be used: Unknown prefix: zz. "),
        ("lab/", "default = lab/ cannot be used: No model in 'lab/'; "),
        ("ollama/", "default = ollama/ cannot be used: No model in 'ollama/'; "),
    ],
)
def test_a_name_that_leads_nowhere_is_a_problem(findings, ollama, monkeypatch, name, words):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", name)
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", f"{ollama.url}/v1")
    ollama.fail(200, body='{"data": []}', path="/v1/models")
    if name == "gone":
        monkeypatch.setenv("TIMESTEP_ALIASES__GONE", "zz/notthere")

    found = findings(exit_code=1)

    problems = fixes(found, "problem")
    assert [text for text in problems if text.startswith(words)]
    assert not any("timestep pull" in fix for fix in problems.values())
    assert not any("The default model is" in text for text in fixes(found, "ok"))


def test_a_gateway_that_only_a_name_asks_for_is_looked_for_too(findings, ollama, monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    monkeypatch.setitem(sys.modules, "agents.extensions.models.litellm_model", None)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "litellm/x")

    assert "'.[litellm]'" in "".join(fixes(findings(exit_code=1), "problem"))


def test_without_ollama_com_the_local_models_are_checked(findings, ollama, monkeypatch):
    monkeypatch.setenv("TIMESTEP_ALIASES__BIG", "ollama/llama3.3")
    monkeypatch.setenv("OLLAMA_API_KEY", "k")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        closed_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", closed_url)

    [(cloud, nothing), (missing, fix)] = fixes(findings(exit_code=1), "problem").items()

    assert cloud.startswith("Cannot reach https://ollama.com: ")
    assert "ollama serve" not in cloud
    assert not nothing
    assert (missing, fix) == (
        "ollama/llama3.3 (big) is not pulled.",
        "timestep pull ollama/llama3.3",
    )


def test_what_a_model_lacks_is_told(findings, ollama, monkeypatch):
    ollama.add_model("gemma3", capabilities=("completion", "vision"))
    ollama.add_model("embedder", capabilities=("embedding",))
    monkeypatch.setenv("TIMESTEP_ALIASES__SEE", "ollama/gemma3")
    monkeypatch.setenv("TIMESTEP_ALIASES__FIND", "ollama/embedder")

    found = findings(exit_code=1)

    assert "ollama/embedder (find) cannot chat; it has embedding." in fixes(found, "problem")
    assert "ollama.tool_emulation = true" in fixes(found, "warning").values()


def test_no_window_is_told_that_an_old_server_does_not_say(findings, ollama):
    Path("timestep.toml").write_text('[ollama.models."llama3.2"]\nnum_ctx = 8192\n')
    ollama.fail(200, body='{"models": [{"name": "llama3.2:latest"}]}', path="/api/ps")

    assert not [text for _, text in findings() if "tokens" in text]


@pytest.mark.parametrize(
    ("asked", "loaded", "status", "words", "fix"),
    [
        (None, None, "note", "4,096 tokens on most machines", "ollama.options.num_ctx = 16384"),
        (None, 4096, "warning", "little for agents", "ollama.options.num_ctx = 16384"),
        (None, 8192, None, "", ""),
        (8192, None, None, "", ""),
        (8192, 4096, "warning", "num_ctx asks for 8,192", "ollama stop llama3.2"),
        (8192, 8192, "ok", "is loaded with 8,192 tokens", ""),
        (999999, None, "warning", "131,072 tokens at most", "ollama.options.num_ctx = 131072"),
    ],
)
def test_the_context_is_compared_with_what_is_asked_for(
    findings, ollama, asked, loaded, status, words, fix
):
    if asked:
        Path("timestep.toml").write_text(f'[ollama.models."llama3.2"]\nnum_ctx = {asked}\n')
    if loaded:
        load(ollama, "llama3.2", loaded)

    context = {(kind, text): step for (kind, text), step in findings().items() if "tokens" in text}

    if status is None:
        assert not context
    else:
        [((kind, text), step)] = context.items()
        assert (kind, step) == (status, fix)
        assert words in text


def test_a_cloud_model_without_a_key_is_a_problem(findings, ollama, monkeypatch):
    monkeypatch.setenv("TIMESTEP_ALIASES__BIG", "ollama/gpt-oss:120b-cloud")

    [problem] = fixes(findings(exit_code=1), "problem").items()

    assert "which needs a key" in problem[0]
    assert problem[1] == "export OLLAMA_API_KEY=…"


def test_a_key_that_stays_at_home_is_told(findings, ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", ollama.url)
    monkeypatch.setenv("OLLAMA_API_KEY", "geheim")

    notes = fixes(findings(), "note")

    assert f"OLLAMA_API_KEY is for ollama.com and is not sent to {ollama.url}." in notes
    assert "geheim" not in json.dumps(notes)


def test_who_is_signed_in_is_told(findings, ollama):
    ollama.fail(200, body='{"name": "ada", "plan": "free"}', path="/api/me")

    assert ("ok", "Signed in as ada.") in findings()


def test_a_server_too_old_to_sign_in_has_nothing_to_say_about_it(findings, ollama):
    ollama.fail(404, body="404 page not found", path="/api/me")

    assert not any("igned in" in text for _, text in findings())


@pytest.mark.parametrize(
    "url", ["https://ollama.com", "https://www.ollama.com", "https://ollama.com:443"]
)
def test_a_key_that_ollama_com_refuses_is_a_problem(monkeypatch, url):
    monkeypatch.setenv("OLLAMA_API_KEY", "k")
    monkeypatch.setenv("OLLAMA_BASE_URL", url)
    offers = [Offer("ollama/gpt-oss:120b-cloud")]

    good, (status, _, fix) = check_ollama(
        Inventory("ollama", "ollama", url, offers),
        Server(is_refused=True),
        load_settings(),
        is_wanted=True,
    )

    assert good == ("ok", "It answers: 1 model, 0 loaded.", "")
    assert (status, fix) == ("problem", "export OLLAMA_API_KEY=…")


@pytest.mark.parametrize(("offered", "status"), [("m:1-cloud", "ok"), ("n:1-cloud", "warning")])
def test_a_cloud_model_is_looked_for_where_there_is_a_key(monkeypatch, offered, status):
    monkeypatch.setenv("OLLAMA_API_KEY", "k")
    here = Inventory("ollama", "ollama", "http://localhost:11434")
    cloud = Inventory("ollama", "ollama", "https://ollama.com", [Offer(f"ollama/{offered}")])

    [(found, *_)] = check_models(
        [ConfiguredModel(None, "ollama/m:1-cloud")], [here, cloud], load_settings()
    )

    assert found == status


def test_a_gateway_whose_package_is_there_is_good(monkeypatch):
    module = ModuleType("any_llm")
    module.__spec__ = ModuleSpec("any_llm", None)
    monkeypatch.setitem(sys.modules, "any_llm", module)

    [(status, *_)] = check_other(Inventory("x", "any-llm"), load_settings(), is_wanted=False)

    assert status == "ok"


def test_a_plug_in_is_left_to_itself():
    [(status, *_)] = check_other(
        Inventory("x", "own", problem="Models of kind own cannot be listed."),
        load_settings(),
        is_wanted=True,
    )

    assert status == "note"


def test_a_proxy_that_catches_this_machine_is_told(findings, ollama, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "export NO_PROXY=localhost,127.0.0.1,::1" in fixes(findings(), "warning").values()

    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    assert not fixes(findings(), "warning")


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (401, '{"error":{"message":"no"}}', "problem", "Check api_key"),
        (200, '{"data":[{"id":"b"}]}', "warning", "is not among the models"),
        (200, '{"data":[{"id":"a"}]}', "ok", "groq/a (quick) is there."),
    ],
)
def test_other_providers_are_asked_for_their_models(
    findings, ollama, status, body, expected, words
):
    Path("timestep.toml").write_text(
        f'[aliases]\nquick = "groq/a"\n[providers.groq]\nkind = "openai"\n'
        f'base_url = "{ollama.url}/v1"\n'
    )
    ollama.fail(status, body=body, path="/v1/models")

    found = findings(exit_code=1 if expected == "problem" else 0)

    assert any(words in text for text in fixes(found, expected))


def test_another_ollama_is_checked_with_its_own_settings(findings, ollama):
    Path("timestep.toml").write_text(
        f'[aliases]\nfar = "my-gpu/llama3.2"\n[providers.my-gpu]\nkind = "ollama"\n'
        f'base_url = "{ollama.url}"\n'
    )
    load(ollama, "llama3.2", 2048)

    assert "providers.my-gpu.options.num_ctx = 16384" in fixes(findings(), "warning").values()


def test_a_gateway_without_its_package_is_a_problem(findings, ollama, monkeypatch):
    monkeypatch.setitem(sys.modules, "litellm", None)
    Path("timestep.toml").write_text('[providers.claude]\nkind = "litellm"\n')

    assert "pip install '.[litellm]'" in fixes(findings(exit_code=1), "problem").values()


def test_a_silent_server_is_given_up(findings, ollama):
    for path in ("/api/tags", "/api/version", "/api/me"):
        ollama.fail(200, body="", path=path, fault=Stall(), times=None)

    problems = fixes(findings("--timeout", "0.1", exit_code=1), "problem")

    assert any("within 0.1 s" in text for text in problems)


def test_a_name_server_that_never_answers_does_not_keep_the_process():
    """A look-up runs in a thread that nothing can stop; a loop would wait for it at its end."""
    is_over = threading.Event()

    async def look_up():
        waiting = asyncio.get_running_loop().run_in_executor(None, is_over.wait)
        await asyncio.wait([waiting], timeout=0.01)
        return "done"

    assert run_without_waiting(look_up()) == "done"
    assert not is_over.is_set()
    is_over.set()


def test_work_in_threads_returns_and_raises():
    async def work():
        good = await asyncio.to_thread(len, "abc")
        with pytest.raises(socket.gaierror):
            await asyncio.to_thread(socket.getaddrinfo, "256.256.256.256.invalid", "x y")
        return good

    assert run_without_waiting(work()) == 3


def configure(server, api):
    Path("timestep.toml").write_text(
        f'default_model = "other/m"\n[providers.other]\nkind = "openai"\n'
        f'base_url = "{server.base_url}"\napi = "{api}"\n'
    )


def test_a_server_without_a_list_of_models_is_a_note(findings, openai_server):
    configure(openai_server, "chat_completions")
    told = fixes(findings(), "note")

    text = f"It has no list of models (501 for {openai_server.base_url}/models)."
    assert told[f"{text} If the base URL is right, a request says more."] == "timestep doctor --ask"
    assert openai_server.requests == []


@pytest.mark.parametrize(
    ("api", "words"),
    [("chat_completions", "chat completions"), ("responses", "the Responses API")],
)
def test_doctor_asks_when_told_to_and_says_which_api_answered(invoke, openai_server, api, words):
    configure(openai_server, api)
    result = invoke("doctor", "--ask")

    assert result.exit_code == 0
    assert f"other/m answered over {words}." in result.stdout
    assert len(openai_server.requests) == 1


def test_a_missing_responses_api_names_the_other_one(findings, openai_server):
    configure(openai_server, "responses")
    openai_server.failure = (404, "no such path")
    told = fixes(findings("--ask", exit_code=1), "problem")

    assert any('set api = "chat_completions" in its table' in text for text in told)


def test_a_model_that_does_not_answer_is_a_problem(findings, openai_server):
    configure(openai_server, "chat_completions")
    openai_server.failure = (400, "bad request")
    told = fixes(findings("--ask", exit_code=1), "problem")

    assert any(text.startswith("other/m: ") and "bad request" in text for text in told)


@pytest.mark.parametrize("option", ["--config", "--env-file"])
@pytest.mark.parametrize(
    "command", ["doctor *", "models *", "config show *", "run * hello", "traces * list"]
)
def test_a_file_that_an_option_names_is_refused_by_that_option(invoke, command, option):
    done = invoke(*command.replace("*", f"{option} no.file").split())

    assert done.exit_code != 0
    said = f"no.file does not exist; correct {option}, or leave it out"
    assert said in " ".join(done.output.split())
