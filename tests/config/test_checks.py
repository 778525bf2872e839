"""What is set and has no effect is found without a request: by ``check=True``, and by the doctor."""

from pathlib import Path

import pytest

from timestep import ConfigurationError, MultiModelProvider, load_settings
from timestep.config.checks import find_doubts
from timestep.testing import FakeOllama

OPTION = "no option of Ollama; did you mean 'num_ctx'?"


def by_variables(variables):
    def write(monkeypatch):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return write


def by_file(name, text):
    return lambda _: Path(name).write_text(text)


def by_directory(name):
    return lambda _: Path(name).mkdir()


DOUBTS = {
    "a directory called .env": (by_directory(".env"), ".env is a directory, and no variable is"),
    "a name alone": (
        by_file(".env", "A=1\nOPENAI_API_KEY\n"),
        ".env:2: OPENAI_API_KEY has no value, and counts as unset; write OPENAI_API_KEY=VALUE",
    ),
    "the file of a key": (
        by_variables({"OPENAI_API_KEY_FILE": "/run/secrets/x"}),
        (
            "No setting is read from the variable OPENAI_API_KEY_FILE. To use a file, call it "
            "OPENAI_API_KEY and put it into the directory that TIMESTEP_SECRETS_DIR names."
        ),
    ),
    "the file of a key in .env": (
        by_file(".env", "OLLAMA_API_KEY_FILE=/run/secrets/x\n"),
        "No setting is read from the variable OLLAMA_API_KEY_FILE.",
    ),
    "another tool's name in .env": (
        by_file(".env", "OPENAI_API_BASE=https://x/v1\n"),
        "No setting is read from the variable OPENAI_API_BASE. Did you mean OPENAI_BASE_URL?",
    ),
    "a host under a base_url": (
        by_variables({"OLLAMA_HOST": "gpu", "OLLAMA_BASE_URL": "http://localhost:1"}),
        (
            "ollama.host (environment variable OLLAMA_HOST): this is not used, because base_url "
            "(environment variable OLLAMA_BASE_URL) is for every model."
        ),
    ),
    "a host under a base_url of a provider": (
        by_file(
            "timestep.toml",
            "[providers.lab]\nkind = 'ollama'\nhost = 'gpu'\nbase_url = 'https://lab'\n",
        ),
        "providers.lab.host (timestep.toml:3): this is not used, because base_url (timestep.toml:4)",
    ),
    "an unknown option": (
        by_variables({"TIMESTEP_OLLAMA__OPTIONS__NUMCTX": "4096"}),
        f"ollama.options.numctx (environment variable TIMESTEP_OLLAMA__OPTIONS__NUMCTX): {OPTION}",
    ),
    "an unknown option of a model": (
        by_file("timestep.toml", "[ollama.models.'qwen3:4b']\nNum_Ctx = 1\n"),
        f'ollama.models."qwen3:4b".Num_Ctx (timestep.toml:2): {OPTION}',
    ),
    "an unknown option of a provider": (
        by_file("timestep.toml", "[providers.lab]\nkind = 'ollama'\noptions = { num_xtx = 1 }\n"),
        f"providers.lab.options.num_xtx (timestep.toml:3): {OPTION}",
    ),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_a_setting_without_effect_is_found_and_does_not_keep_a_provider_from_being_built(
    monkeypatch, case
):
    write, expected = DOUBTS[case]
    write(monkeypatch)

    MultiModelProvider.from_env()
    with pytest.raises(ConfigurationError) as caught:
        MultiModelProvider.from_env(check=True)
    assert str(caught.value).startswith(expected)
    assert [doubt.text for doubt in find_doubts(load_settings())] == [str(caught.value)]


def test_what_is_meant_is_no_doubt(monkeypatch):
    Path(".env").mkdir()
    Path(".env/pyvenv.cfg").write_text("")  # a virtual environment
    Path("timestep.toml").write_text("[ollama]\nhost = 'gpu'\n[ollama.options]\nnum_ctx = 1\n")
    monkeypatch.setenv("OPENAI_LOG", "debug")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", "x")
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/x")

    assert find_doubts(load_settings()) == []
    assert MultiModelProvider.from_env(check=True).get_model(None).model == "x"


def test_an_empty_variable_is_meant():
    Path(".env").write_text("OPENAI_API_KEY=\nOPENAI_ORG_ID=''\nOPENAI_PROJECT_ID=${X_Y_Z:-}\n")

    assert find_doubts(load_settings()) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"TIMESTEP_DEFAULT_MODEL": "grok/x"},
            "default_model (environment variable TIMESTEP_DEFAULT_MODEL): Unknown prefix: grok.",
        ),
        (
            {"TIMESTEP_ALIASES__FAST": "olama/x"},
            "aliases.fast (environment variable TIMESTEP_ALIASES__FAST): Unknown prefix: olama.",
        ),
        ({"TIMESTEP_ALIASES__FAST": "ollama/x,olama/y"}, "aliases.fast (environment variable"),
        ({"TIMESTEP_DEFAULT_MODEL": "ollama/"}, "default_model (environment variable"),
        ({"TIMESTEP_DEFAULT_MODEL": '["gpt-4.1", "x/y"]'}, "default_model (environment variable"),
        (
            {"TIMESTEP_DEFAULT_MODEL": "a", "TIMESTEP_ALIASES__A": "x/y"},
            "default_model (environment variable TIMESTEP_DEFAULT_MODEL): Unknown prefix: x.",
        ),
        (
            {"TIMESTEP_ALIASES__FAST": "["},
            "aliases.fast (environment variable TIMESTEP_ALIASES__FAST)",
        ),
        ({"TIMESTEP_ALIASES__FAST": "{"}, "this begins as a JSON table and is not one"),
        ({"TIMESTEP_DEFAULT_MODEL": "[a"}, "this begins as a JSON list and is not one"),
    ],
)
def test_a_name_that_can_never_work_is_refused_at_once(monkeypatch, variables, expected):
    by_variables(variables)(monkeypatch)

    with pytest.raises(ConfigurationError) as caught:
        MultiModelProvider.from_env()
    assert expected in str(caught.value)
    assert "[providers" not in str(caught.value)


def test_a_known_prefix_is_no_mistake(monkeypatch):
    monkeypatch.setenv(
        "TIMESTEP_DEFAULT_MODEL", "lab/x, any-llm/mistral/y, gpt-4.1, openai/gpt-4.1"
    )
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "ollama")

    MultiModelProvider.from_env()


def test_a_check_misses_the_key_that_a_model_needs(monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "gpt-4.1")
    MultiModelProvider.from_env()

    with pytest.raises(ConfigurationError, match=r"'gpt-4\.1' is a model of OpenAI, and its key"):
        MultiModelProvider.from_env(check=True)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    MultiModelProvider.from_env(check=True)


def test_a_check_asks_no_server(monkeypatch):
    with FakeOllama() as fake:
        monkeypatch.setenv("OLLAMA_BASE_URL", fake.url)
        monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/x")
        MultiModelProvider.from_env(check=True)

        assert fake.requests == []


@pytest.mark.parametrize("name", ["timestep.toml", "pyproject.toml"])
def test_a_directory_in_the_place_of_a_toml_file_is_refused(name):
    Path(name).mkdir()

    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == (
        f"{name} cannot be read (Is a directory); correct it, or move it away"
    )


def test_an_agent_without_a_model_is_told_how_to_set_a_default():
    with pytest.raises(ConfigurationError) as caught:
        MultiModelProvider.from_env().get_model(None)

    assert str(caught.value) == (
        "An agent names no model, and no default model is set; set TIMESTEP_DEFAULT_MODEL, or "
        "default_model in timestep.toml, as in 'ollama/llama3.2'. For the SDK's own default, a model "
        "of OpenAI, set OPENAI_API_KEY."
    )


class TestHyphens:
    """A variable cannot spell a hyphen, so its names answer to both spellings."""

    @pytest.fixture(autouse=True)
    def variables(self, monkeypatch):
        monkeypatch.setenv("TIMESTEP_PROVIDERS__MY_LLM__KIND", "ollama")
        monkeypatch.setenv("TIMESTEP_PROVIDERS__MY_LLM__BASE_URL", "http://localhost:1")
        monkeypatch.setenv("TIMESTEP_ALIASES__MY_FAST", "my-llm/x")

    @pytest.mark.parametrize("name", ["my_llm/x", "my-llm/x", "my_fast", "my-fast"])
    def test_names_of_variables_answer_to_both(self, name):
        provider = MultiModelProvider.from_env(check=True)

        assert provider.get_model(name).model == "x"
        assert provider.provider_map.get_mapping().keys() == {"ollama", "my_llm"}

    def test_both_are_one_provider(self):
        providers = MultiModelProvider.from_env().provider_map

        assert providers.get_provider("my-llm") is providers.get_provider("my_llm")

    def test_the_default_may_use_either(self, monkeypatch):
        monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "my-fast")

        assert MultiModelProvider.from_env().get_model(None).model == "x"
        assert load_settings().models_of(None) == ["my_llm/x"]

    def test_a_file_spells_its_own_names(self):
        Path("timestep.toml").write_text(
            "[aliases]\nmy_slow = 'ollama/slow'\n[providers.my-llm]\nkeep_alive = '1m'\n"
        )
        provider = MultiModelProvider.from_env()

        assert provider.provider_map.get_mapping().keys() == {"ollama", "my-llm"}
        assert not provider.provider_map.has_prefix("my_llm")
        with pytest.raises(ConfigurationError, match="'my-slow' is a model of OpenAI"):
            provider.get_model("my-slow")

    def test_a_name_of_its_own_wins(self):
        provider = MultiModelProvider.from_env(
            aliases={"my-fast": "ollama/mine"}, providers={"my-llm": {"kind": "ollama"}}
        )

        assert provider.get_model("my-fast").model == "mine"


@pytest.mark.parametrize("name", ["TIMESTEP_OLLAMA__CA_FILE", "TIMESTEP_OPENAI__CA_FILE"])
def test_a_setting_whose_name_ends_in_file_is_no_doubt(monkeypatch, name):
    monkeypatch.setenv(name, "/etc/ssl/company.pem")

    assert find_doubts(load_settings()) == []


@pytest.mark.parametrize("name", ["OPENAI_APIKEY", "OPENAI_API_KEY.txt", "OPENAI_API_KEYS"])
def test_a_secrets_file_that_nothing_reads_is_a_doubt(monkeypatch, name):
    Path("secrets").mkdir()
    Path("secrets", name).write_text("sk-1")
    Path("secrets", "somebody_elses.pem").write_text("x")
    monkeypatch.setenv("TIMESTEP_SECRETS_DIR", "secrets")

    [doubt] = find_doubts(load_settings())

    assert doubt.text == (
        f"No setting is read from secrets/{name}. Did you mean to call it OPENAI_API_KEY?"
    )
