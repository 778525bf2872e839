"""``timestep render``: the exact prompt, and what did not make it there."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from timestep.ollama.model_options import OllamaModelOptions

AGENT = """\
from agents import Agent, ModelSettings, function_tool, input_guardrail
import neighbour

@function_tool
def get_weather(city: str) -> str:
    "Get the weather."
    return "sun"

@input_guardrail
async def never(context, agent, input):
    raise RuntimeError("guardrails do not run")

def instructions(context, agent):
    return f"You are {agent.name}. {neighbour.RULE}"

billing = Agent(name="billing")
support = Agent(
    name="support", instructions=instructions, tools=[get_weather], handoffs=[billing],
    model="fast", input_guardrails=[never],
)
openai = Agent(name="openai", model="gpt-4.1")
broken = Agent(name="broken", model="fast", instructions=lambda context, agent: 1 / 0)
number = 3
"""


@pytest.fixture(autouse=True)
def configured(fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.setenv("TIMESTEP_ALIASES__FAST", "ollama/llama3.2")
    monkeypatch.setenv("OPENAI_API_KEY", "k")


@pytest.fixture
def desk(monkeypatch):
    """A file and a module with agents."""
    Path("neighbour.py").write_text('RULE = "Be kind."\n')
    Path("desk.py").write_text(AGENT)
    monkeypatch.syspath_prepend(".")  # and take away what the command puts there
    yield
    for name in ("desk", "neighbour", "wrong", "lost"):
        sys.modules.pop(name, None)


def test_the_prompt_goes_to_stdout(invoke, fake_ollama):
    result = invoke("render", "Hi", "-m", "fast", "-i", "Be brief.")

    assert result.exit_code == 0
    assert "Be brief." in result.stdout
    assert "Hi" in result.stdout
    assert result.stderr == ""
    assert fake_ollama.chats[0]["_debug_render_only"] is True


def test_the_input_can_be_piped_in(invoke, fake_ollama):
    invoke("render", "-m", "fast", input="Grüße\n")

    assert fake_ollama.chats[0]["messages"][-1]["content"] == "Grüße\n"


@pytest.mark.parametrize("reference", ["desk.py:support", "desk:support"])
def test_an_agent_is_rendered_as_the_runner_would_call_it(invoke, fake_ollama, desk, reference):
    result = invoke("render", "Hi", "--agent", reference)

    assert result.exit_code == 0, result.output
    [chat] = fake_ollama.chats
    assert chat["model"] == "llama3.2"
    assert chat["messages"][0]["content"] == "You are support. Be kind."
    assert [tool["function"]["name"] for tool in chat["tools"]] == [
        "get_weather",
        "transfer_to_billing",
    ]
    assert "Tools in the prompt: get_weather, transfer_to_billing" in result.stderr


def test_options_win_over_the_agent_s_own(invoke, fake_ollama, desk):
    invoke("render", "Hi", "-a", "desk:openai", "-m", "ollama/qwen3:4b", "-i", "Other.")

    [chat] = fake_ollama.chats
    assert chat["model"] == "qwen3:4b"
    assert chat["messages"][0]["content"] == "Other."


def test_a_prompt_can_be_read_by_programs(invoke, fake_ollama, desk):
    value = json.loads(invoke("render", "Hi", "-a", "desk:support", "--json").stdout)

    assert value["model"] == "llama3.2"
    assert "Be kind." in value["text"]
    assert value["tools"] == ["get_weather", "transfer_to_billing"]
    assert (value["cut"], value["missing_tools"], value["image_count"]) == ([], [], 0)


def test_what_is_not_in_the_prompt_is_told(invoke, fake_ollama, desk):
    answer = {"_debug_info": {"rendered_template": "Hi", "image_count": 2}, "done": False}
    # A template that shows neither the instructions nor the tools.
    fake_ollama.fail(200, body=json.dumps(answer), path="/elsewhere/api/chat")
    fake_ollama.fail(404, path="/elsewhere/api/show")
    result = invoke(
        "render",
        "Hi",
        "-a",
        "desk:support",
        env={"OLLAMA_BASE_URL": f"{fake_ollama.url}/elsewhere"},
    )

    assert result.stdout == "Hi\n"
    assert "NOT in it: get_weather, transfer_to_billing" in result.stderr
    assert "left out by the template): system: You are support." in result.stderr
    assert "Images beside it: 2" in result.stderr


def test_a_model_that_is_no_ollama_has_no_prompt_to_show(invoke, desk):
    result = invoke("render", "Hi", "-a", "desk:openai")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "only Ollama servers do" in result.stderr


def test_without_a_model_the_next_step_is_told(invoke):
    result = invoke("render", "Hi")

    assert result.exit_code == 1
    assert "--model ollama/llama3.2" in result.stderr


def test_the_default_model_is_rendered(invoke, fake_ollama, monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "fast")

    assert invoke("render", "Hi").exit_code == 0


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        ("desk", 2, "The agents there: desk:billing, desk:support, "),
        ("desk:", 2, "write module:attribute"),
        ("desk:number", 2, "'desk:number' is not the name of an agent. The agents there: desk:b"),
        ("desk:absent", 2, "'desk:absent' is not the name of an agent. The agents there: desk:b"),
        ("absent:agent", 2, "There is no module 'absent' here."),
        ("absent.py:agent", 2, "There is no file 'absent.py'."),
        ("desk:broken", 1, "ZeroDivisionError in desk.py:"),
        ("wrong.py:agent", 1, "wrong.py cannot be imported: ZeroDivisionError in wrong.py:1"),
        ("exits.py:agent", 1, "exits.py ends the program when it is imported."),
        ("typo.py:agent", 1, "typo.py cannot be imported: invalid syntax (typo.py, line 2)."),
        ("../desk:agent", 2, "'../desk' cannot be a module; write a file as ../desk.py."),
        ("lost.py:agent", 1, "lost.py cannot be imported: No module named 'nowhere'"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(invoke, desk, reference, code, words):
    Path("wrong.py").write_text("1 / 0\n")
    Path("lost.py").write_text("import nowhere\n")
    Path("exits.py").write_text("import sys\nsys.exit('bye')\n")
    Path("typo.py").write_text("x = 1\nx = = 2\n")

    result = invoke("render", "Hi", "--agent", reference)

    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_a_server_that_fails_is_told(invoke, fake_ollama):
    fake_ollama.refuse()

    assert "ollama serve" in invoke("render", "Hi", "-m", "fast").stderr


def test_a_plain_prompt_does_not_wait_for_the_sdk(imported_by):
    modules = imported_by("render", "Hi", "-m", "ollama/llama3.2", "-i", "Be brief.")

    assert "timestep.ollama.render" in modules
    assert not modules & {"agents", "openai", "ollama"}


SETTINGS = {
    "options": "options = {num_ctx = 4096, seed = 1, top_k = 7}",
    "keep_alive": "keep_alive = -1",
    "timeout": "timeout = 60",
    "on_context_overflow": 'on_context_overflow = "truncate"',
    "strict_feature_validation": "strict_feature_validation = true",
    "tool_emulation": "tool_emulation = true",
    "allow_remote_images": "allow_remote_images = true",
    "text_calls": "text_calls = true",
    "think_tags": "think_tags = ['llama3.2']",
    "repairs": "repairs = 3",
    "models": "models.'llama3.2' = {num_ctx = 8192, settings = {temperature = 0.2}}",
    "settings": "settings = {temperature = 0.5, max_tokens = 9, truncation = 'auto'}",
}


def test_the_table_has_every_setting_of_a_model():
    assert {*SETTINGS} == {
        *(field.name for field in dataclasses.fields(OllamaModelOptions)),
        *("models", "settings"),
    }


@pytest.mark.parametrize("toml", SETTINGS.values(), ids=SETTINGS)
def test_every_setting_acts_on_a_plain_prompt_as_on_an_agent_s(invoke, fake_ollama, toml):
    Path("timestep.toml").write_text(f"[ollama]\n{toml}\n")
    Path("plain.py").write_text('from agents import Agent\nplain = Agent(name="plain")\n')

    for options in ([], ["-a", "plain.py"]):
        result = invoke("render", "Hi", "-m", "fast", "-i", "Be brief.", *options)
        assert result.exit_code == 0, result.output

    plain, by_runner = fake_ollama.chats
    assert plain == by_runner


@pytest.mark.parametrize(
    ("model", "instructions", "text"),
    [
        ("fast", None, "Hi"),
        ("ollama/llama3.2", "Be brief.", "Hi"),
        ("box/llama3.2", "", "Grüße\n😀"),
        ("ollama/gpt-oss:20b-cloud", None, "Hi"),
    ],
)
@pytest.mark.parametrize(
    "toml",
    [
        "",
        'keep_alive = "5m"\non_context_overflow = "truncate"\nthink_tags = true',
        "options = {num_ctx = 4096, seed = 1}\nmodels.'llama3.2'.num_ctx = 8192",
    ],
)
def test_a_plain_prompt_is_asked_for_as_the_runner_would(
    invoke, fake_ollama, toml, model, instructions, text
):
    box = f'\n[providers.box]\nkind = "ollama"\nbase_url = "{fake_ollama.url}"\n'
    Path("timestep.toml").write_text(f"[ollama]\n{toml}{box}{toml}\n")
    Path("plain.py").write_text('from agents import Agent\nplain = Agent(name="plain")\n')
    options = ["-m", model, *(["-i", instructions] if instructions is not None else [])]

    alone = invoke("render", text, *options, "--json")
    by_runner = invoke("render", text, *options, "--json", "-a", "plain.py")

    assert alone.exit_code == by_runner.exit_code == 0, alone.output + by_runner.output
    assert alone.stdout == by_runner.stdout
    assert fake_ollama.chats[0] == fake_ollama.chats[1]
