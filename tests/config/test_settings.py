import json
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from timestep.config.schema import OpenAISettings
from timestep.config.settings import Settings, load_settings
from timestep.errors import ConfigurationError
from timestep.net.timeouts import Timeouts


def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_configured_is_a_valid_configuration():
    settings = Settings()

    assert settings.openai.api_key is None
    assert settings.openai.api == "responses"
    assert settings.ollama.on_context_overflow == "error"
    assert settings.providers == {}
    assert settings.aliases == {}
    assert settings.default_model is None


def test_a_prefix_has_the_table_of_its_own_kind():
    url = "http://localhost:1/v1"
    settings = Settings(
        providers={
            "ollama": {"kind": "openai", "base_url": url},
            "lab": {"kind": "ollama", "base_url": url},
            "claude": {"kind": "litellm"},
        }
    )

    assert settings.openai_tables == {
        "openai": settings.openai,
        "ollama": settings.providers["ollama"],
    }
    assert settings.ollama_tables == {"lab": settings.providers["lab"]}


@pytest.mark.parametrize("variable", ["TIMESTEP_DEFAULT_MODEL", "TIMESTEP_ALIASES__FAST"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ollama/a", "ollama/a"),
        ("ollama/a,gpt-4.1", ["ollama/a", "gpt-4.1"]),
        (" ollama/a , gpt-4.1 ,", ["ollama/a", "gpt-4.1"]),
        ("ollama/a,", ["ollama/a"]),
        ('["ollama/a", "gpt-4.1"]', ["ollama/a", "gpt-4.1"]),
    ],
)
def test_commas_in_a_variable_list_models(variable, text, expected):
    settings = load_settings(environment={variable: text})

    assert (settings.default_model or settings.aliases["fast"]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busy", ["busy"]),
        ("busy, timeout", ["busy", "timeout"]),
        ('["busy", "timeout"]', ["busy", "timeout"]),
    ],
)
def test_commas_in_a_variable_list_the_failures_of_a_chain(text, expected):
    settings = load_settings(environment={"TIMESTEP_FALLBACK__ON": text})

    assert settings.fallback.on == tuple(expected)


@pytest.mark.parametrize("variable", ["TIMESTEP_DEFAULT_MODEL", "TIMESTEP_ALIASES__FAST"])
def test_commas_without_a_name_list_nothing(variable):
    with pytest.raises(ConfigurationError, match="the list is empty; name at least 1 model"):
        load_settings(environment={variable: " , "})


@pytest.mark.parametrize(
    "variable",
    [
        "TIMESTEP_DEFAULT_MODEL",
        "TIMESTEP_ALIASES__FAST",
        "OLLAMA_BASE_URL",
        "TIMESTEP_FALLBACK__ON",
    ],
)
def test_half_a_json_list_is_no_list_of_commas(variable):
    with pytest.raises(ConfigurationError, match="begins as a JSON list and is not one"):
        load_settings(environment={variable: '["a", "b"'})


def test_sources_win_in_the_documented_order(monkeypatch, tmp_path):
    """All sources set the same key; without the strongest, the next one holds."""
    key = "TIMESTEP_DEFAULT_MODEL"
    monkeypatch.setenv(key, "environment")
    write(".env", f"{key}=dotenv\n")
    write("secrets/TIMESTEP_DEFAULT_MODEL", "secrets\n")
    files = {
        "explicit.toml": 'default_model = "config_file"',
        "variable.toml": 'default_model = "TIMESTEP_CONFIG"',
        "timestep.toml": 'default_model = "timestep.toml"',
        "pyproject.toml": '[tool.timestep]\ndefault_model = "pyproject.toml"',
        "config/timestep/timestep.toml": 'default_model = "user"',
    }
    for name, text in files.items():
        write(name, text)
    monkeypatch.setenv("TIMESTEP_CONFIG", "variable.toml")
    arguments = {
        "_secrets_dir": "secrets",
        "_config_file": "explicit.toml",
        "default_model": "argument",
    }
    steps = [
        ("argument", lambda: arguments.pop("default_model")),
        ("environment", lambda: monkeypatch.delenv(key)),
        ("dotenv", Path(".env").unlink),
        ("secrets", lambda: arguments.pop("_secrets_dir")),
        ("config_file", lambda: arguments.pop("_config_file")),
        ("TIMESTEP_CONFIG", lambda: monkeypatch.delenv("TIMESTEP_CONFIG")),
        ("timestep.toml", Path("timestep.toml").unlink),
        ("pyproject.toml", Path("pyproject.toml").unlink),
        ("user", Path("config/timestep/timestep.toml").unlink),
        (None, lambda: None),
    ]

    for expected, remove in steps:
        assert Settings(**arguments).default_model == expected
        remove()


def test_every_place_that_sets_a_key_is_known_with_its_line(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    write(".env", "# a comment\n\nOTHER=1\nexport OPENAI_API_KEY='from-dotenv'\n")
    write("secrets/OPENAI_API_KEY", "from-secrets")
    write("timestep.toml", '# comment\n[openai]\n\napi_key = "from-toml"\n')

    settings = Settings(_secrets_dir="secrets", openai={"api_key": "from-argument"})
    origin = settings.origin_of("openai.api_key")

    assert origin.key == "openai.api_key"
    assert origin.winner.kind == "argument"
    assert [(loser.kind, str(loser)) for loser in origin.losers] == [
        ("environment", "environment variable OPENAI_API_KEY"),
        ("dotenv", ".env:4"),
        ("secrets", f"secrets file {Path('secrets/OPENAI_API_KEY')}"),
        ("toml", "timestep.toml:4"),
    ]
    assert settings.origin_of("openai.base_url").winner.kind == "default"
    assert settings.origins == {"openai.api_key": origin}


@pytest.mark.parametrize(
    "case",
    [
        ("OPENAI_BASE_URL", "openai.base_url", "https://proxy/v1/", "https://proxy/v1"),
        ("OPENAI_ORG_ID", "openai.organization", "org-1", "org-1"),
        ("OPENAI_PROJECT_ID", "openai.project", "proj_1", "proj_1"),
        ("OLLAMA_BASE_URL", "ollama.base_url", "http://gpu:11434", "http://gpu:11434"),
        ("OLLAMA_HOST", "ollama.host", "0.0.0.0:1234", "http://127.0.0.1:1234"),
        ("TIMESTEP_OPENAI__API", "openai.api", "chat_completions", "chat_completions"),
        ("TIMESTEP_OPENAI__TIMEOUT", "openai.timeout", "30", 30.0),
        ("TIMESTEP_OPENAI__HEADERS__X_TITLE", "openai.headers", "a", {"x-title": "a"}),
        ("TIMESTEP_OPENAI__HEADERS", "openai.headers", '{"X-A": "b"}', {"X-A": "b"}),
        ("TIMESTEP_OLLAMA__HOST", "ollama.host", "gpu", "http://gpu:11434"),
        ("TIMESTEP_OLLAMA__KEEP_ALIVE", "ollama.keep_alive", "-1", -1),
        ("TIMESTEP_OLLAMA__KEEP_ALIVE", "ollama.keep_alive", "1h30m", "1h30m"),
        ("TIMESTEP_OLLAMA__OPTIONS__NUM_CTX", "ollama.options", "8192", {"num_ctx": 8192}),
        ("TIMESTEP_OLLAMA__OPTIONS__STOP", "ollama.options", '["a"]', {"stop": ["a"]}),
        ("TIMESTEP_OLLAMA__OPTIONS__X", "ollama.options", "plain", {"x": "plain"}),
        ("TIMESTEP_OLLAMA__OPTIONS", "ollama.options", '{"a": 1}', {"a": 1}),
        ("TIMESTEP_OLLAMA__MODELS", "ollama.models", '{"Q:4B": {"a": 1}}', {"Q:4B": {"a": 1}}),
        ("TIMESTEP_OLLAMA__TIMEOUT", "ollama.timeout", "2.5", 2.5),
        (
            "TIMESTEP_OLLAMA__TIMEOUT__FIRST_BYTE",
            "ollama.timeout",
            "600",
            Timeouts(first_byte=600),
        ),
        ("TIMESTEP_OLLAMA__TOOL_EMULATION", "ollama.tool_emulation", "true", True),
        ("TIMESTEP_OLLAMA__TEXT_CALLS", "ollama.text_calls", "true", True),
        ("TIMESTEP_OLLAMA__TEXT_CALLS", "ollama.text_calls", "0", False),
        (
            "TIMESTEP_OLLAMA__TEXT_CALLS",
            "ollama.text_calls",
            "llama3.2, q:4b",
            ["llama3.2", "q:4b"],
        ),
        ("TIMESTEP_OLLAMA__THINK_TAGS", "ollama.think_tags", "deepseek-r1", ["deepseek-r1"]),
        ("TIMESTEP_OLLAMA__THINK_TAGS", "ollama.think_tags", '["a", "b"]', ["a", "b"]),
        ("TIMESTEP_OLLAMA__REPAIRS", "ollama.repairs", "3", 3),
        ("TIMESTEP_OLLAMA__ALLOW_REMOTE_IMAGES", "ollama.allow_remote_images", "1", True),
        (
            "TIMESTEP_OLLAMA__ON_CONTEXT_OVERFLOW",
            "ollama.on_context_overflow",
            "truncate",
            "truncate",
        ),
        (
            "TIMESTEP_OLLAMA__STRICT_FEATURE_VALIDATION",
            "ollama.strict_feature_validation",
            "yes",
            True,
        ),
        ("TIMESTEP_OLLAMA__ALLOW_INSECURE", "ollama.allow_insecure", "on", True),
        ("TIMESTEP_DEFAULT_MODEL", "default_model", "ollama/Qwen3:4B", "ollama/Qwen3:4B"),
        ("TIMESTEP_ALIASES__FAST", "aliases", "ollama/Qwen3:4B", {"fast": "ollama/Qwen3:4B"}),
        ("TIMESTEP_ALIASES__FAST", "aliases", '["a/B", "c"]', {"fast": ["a/B", "c"]}),
        ("TIMESTEP_ALIASES", "aliases", '{"Fast": "a"}', {"Fast": "a"}),
        ("timestep_default_model", "default_model", "x", "x"),
    ],
)
@pytest.mark.parametrize("source", ["environment", "dotenv", "secrets"])
def test_a_variable_sets_its_key(monkeypatch, source, case):
    name, key, text, value = case
    match source:
        case "environment":
            monkeypatch.setenv(name, text)
        case "dotenv":
            write(".env", f"{name}='{text}'\n")
        case "secrets":
            write(f"secrets/{name}", text + "\n")
            monkeypatch.setenv("TIMESTEP_SECRETS_DIR", "secrets")

    found = Settings()
    for part in key.split("."):
        found = getattr(found, part)

    assert found == value


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "TIMESTEP_OPENAI__API_KEY", "OLLAMA_API_KEY"])
def test_keys_are_secrets(monkeypatch, name):
    monkeypatch.setenv(name, " sk-1\n")
    settings = Settings()

    key = settings.ollama.api_key if name.startswith("OLLAMA") else settings.openai.api_key
    assert key == SecretStr("sk-1")


def test_the_longer_name_wins_within_one_source(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "short")
    monkeypatch.setenv("TIMESTEP_OPENAI__API_KEY", "long")
    monkeypatch.setenv("TIMESTEP_OPENAI", '{"api_key": "json", "project": "json"}')
    settings = Settings()

    assert settings.openai.api_key == SecretStr("long")
    assert settings.openai.project == "json"
    assert [origin.variable for origin in settings.origin_of("openai.api_key").losers] == [
        "TIMESTEP_OPENAI",
        "OPENAI_API_KEY",
    ]


def test_a_variable_overrides_one_key_of_a_toml_table(monkeypatch):
    write(
        "timestep.toml",
        """
        [providers.groq]
        kind = "openai"
        base_url = "https://api.groq.com/openai/v1"
        api_key = "from-toml"
        timeout = 30
        [providers.groq.headers]
        X-Title = "app"
        [ollama.models."llama3.2"]
        num_ctx = 4096
        """,
    )
    monkeypatch.setenv("TIMESTEP_PROVIDERS__GROQ__API_KEY", "from-environment")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__GROQ__HEADERS__X_USER", "me")
    settings = Settings()
    groq = settings.providers["groq"]

    assert groq.api_key == SecretStr("from-environment")
    assert (groq.base_url, groq.timeout) == ("https://api.groq.com/openai/v1", 30)
    assert groq.headers == {"X-Title": "app", "x-user": "me"}
    assert groq.api == "chat_completions"
    assert settings.origin_of('ollama.models."llama3.2".num_ctx').winner.location == (
        "timestep.toml:10"
    )


def test_a_table_and_a_number_replace_each_other(monkeypatch):
    write("timestep.toml", "[ollama.timeout]\nconnect = 5\nidle = 9\n")
    monkeypatch.setenv("TIMESTEP_OLLAMA__TIMEOUT", "30")
    assert Settings().ollama.timeout == 30

    write("timestep.toml", "[ollama]\ntimeout = 30\n")
    monkeypatch.delenv("TIMESTEP_OLLAMA__TIMEOUT")
    monkeypatch.setenv("TIMESTEP_OLLAMA__TIMEOUT__CONNECT", "5")
    assert Settings().ollama.timeout == Timeouts(connect=5)


def test_provider_and_alias_names_in_variables_are_lower_case(monkeypatch):
    monkeypatch.setenv("TIMESTEP_PROVIDERS__GROQ__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__GROQ__BASE_URL", "https://api.groq.com/openai/v1")
    monkeypatch.setenv("TIMESTEP_ALIASES__FAST", "groq/Llama-4")

    assert list(Settings().providers) == ["groq"]
    assert Settings().aliases == {"fast": "groq/Llama-4"}


def test_a_variable_belongs_to_the_name_that_a_file_spells_with_hyphen_and_case(monkeypatch):
    write(
        "timestep.toml",
        """
        [providers.my-llm]
        kind = "litellm"
        [providers.other_llm]
        kind = "litellm"
        [providers.other-llm]
        kind = "litellm"
        [aliases]
        Fast = "a"
        """,
    )
    monkeypatch.setenv("TIMESTEP_PROVIDERS__MY_LLM__API_KEY", "k")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__OTHER_LLM__API_KEY", "k")
    monkeypatch.setenv("TIMESTEP_ALIASES__FAST", "b")
    settings = Settings()

    assert {name for name, table in settings.providers.items() if table.api_key} == {
        "my-llm",
        "other_llm",
    }
    assert settings.aliases == {"Fast": "b"}


def test_control_variables_count_in_any_case(monkeypatch):
    write("app.toml", "default_model = 'm'")
    monkeypatch.setenv("timestep_config", "app.toml")

    assert Settings().default_model == "m"


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "")
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "  ")
    monkeypatch.setenv("TIMESTEP_CONFIG", "")
    monkeypatch.setenv("TIMESTEP_SECRETS_DIR", "")
    write(".env", "OPENAI_API_KEY=from-dotenv\nOLLAMA_API_KEY=\nOPENAI_ORG_ID\n")

    settings = Settings()
    assert settings.openai.api_key == SecretStr("from-dotenv")
    assert settings.ollama.api_key is None
    assert settings.openai.organization is None
    assert settings.default_model is None


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_key_argument_means_no_key(monkeypatch, empty):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")

    assert Settings(openai={"api_key": empty}).openai.api_key is None


def test_the_env_file_stays_out_of_the_environment():
    write(".env", "OPENAI_API_KEY=sk-1\nFOREIGN=2\n")
    Settings()

    assert "OPENAI_API_KEY" not in os.environ
    assert "FOREIGN" not in os.environ


def test_foreign_lines_and_variables_are_fine(monkeypatch):
    monkeypatch.setenv("OPENAI_LOG", "debug")
    monkeypatch.setenv("OLLAMA_KEEP_ALIVE", "5m")
    write(".env", "DATABASE_URL=postgres://x\nTIMESTEPS=3\nDEFAULT_MODEL=x\n# TIMESTEP_TYPO=1\n")
    write("secrets/database", "\x00")
    (Path("secrets") / "..data").mkdir()

    assert Settings(_secrets_dir="secrets") == Settings(_env_file=None)


def test_a_virtual_environment_called_dot_env_is_no_env_file():
    Path(".env").mkdir()

    assert Settings().default_model is None


def test_a_byte_order_mark_is_ignored():
    Path(".env").write_bytes(b"\xef\xbb\xbfTIMESTEP_DEFAULT_MODEL=x\n")
    Path("timestep.toml").write_bytes(b"\xef\xbb\xbf[openai]\nproject = 'p'\n")

    assert Settings().default_model == "x"
    assert Settings().openai.project == "p"


def test_other_env_files_and_none_are_taken():
    write(".env", "TIMESTEP_DEFAULT_MODEL=a")
    write("prod.env", "TIMESTEP_DEFAULT_MODEL=b")

    assert Settings(_env_file="prod.env").default_model == "b"
    assert Settings(_env_file=None).default_model is None


def test_the_env_file_may_name_the_toml_file_and_the_secrets_directory():
    write(".env", "TIMESTEP_CONFIG=app.toml\nTIMESTEP_SECRETS_DIR=mounted\n")
    write("app.toml", "default_model = 'm'")
    write("mounted/openai_api_key", "sk-1")

    assert Settings().default_model == "m"
    assert Settings().openai.api_key == SecretStr("sk-1")


def test_an_explicit_pyproject_is_read_at_its_table(tmp_path):
    path = write(tmp_path / "elsewhere" / "pyproject.toml", "[tool.timestep]\ndefault_model='m'")

    assert Settings(_config_file=path).default_model == "m"


def test_given_variables_replace_those_of_the_process(monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "of-the-process")
    monkeypatch.setenv("TIMESTEP_WRONG", "not read")

    assert load_settings(environment={}).default_model is None
    given = {"TIMESTEP_DEFAULT_MODEL": "given"}
    assert load_settings(environment=given).default_model == "given"


def test_a_pyproject_without_our_table_is_passed_over():
    write("pyproject.toml", "[project]\nname = 'x'\n")
    write("config/timestep/timestep.toml", "default_model = 'user'")

    assert Settings().default_model == "user"


def test_a_toml_value_may_point_at_a_variable(monkeypatch):
    write(
        "timestep.toml",
        """
        [openai]
        api_key = "env:A_KEY"
        timeout = "env:SECONDS"
        [ollama]
        api_key = "env:B_KEY"
        [ollama.options]
        num_ctx = "env:CTX"
        """,
    )
    monkeypatch.setenv("A_KEY", "a-environment")
    monkeypatch.setenv("SECONDS", "12")
    write(".env", "A_KEY=a-dotenv\nB_KEY=b-dotenv\nCTX=4096\n")
    settings = Settings()

    assert settings.openai.api_key == SecretStr("a-environment")
    assert settings.openai.timeout == 12
    assert settings.ollama.api_key == SecretStr("b-dotenv")
    assert settings.ollama.options == {"num_ctx": 4096}


def test_an_overridden_pointer_needs_no_variable(monkeypatch):
    write("timestep.toml", '[openai]\napi_key = "env:NOWHERE"\n')
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")

    assert Settings().openai.api_key == SecretStr("sk-1")


def test_sections_may_be_passed_as_models():
    settings = Settings(openai=OpenAISettings(project="p"), ollama={"timeout": {"connect": 1}})

    assert settings.openai.project == "p"
    assert settings.ollama.timeout == Timeouts(connect=1)


def test_all_kinds_of_providers_are_told_apart():
    providers = {
        "groq": {"kind": "openai", "base_url": "https://api.groq.com/openai/v1"},
        "gpu": {"kind": "ollama", "base_url": "http://gpu:11434"},
        "lite": {"kind": "litellm", "api_key": "k"},
        "any": {"kind": "any-llm"},
    }
    settings = Settings(providers=providers)

    assert {name: table.kind for name, table in settings.providers.items()} == {
        name: table["kind"] for name, table in providers.items()
    }


def test_keep_alive_is_a_number_or_a_duration():
    given = [-1, 0, 300, 2.5, "300", "-1", "10m", "1h30m", "1.5h"]
    found = [Settings(ollama={"keep_alive": value}).ollama.keep_alive for value in given]

    expected = [-1, 0, 300, 2.5, 300, -1, "10m", "1h30m", "1.5h"]
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in expected]


def test_settings_cannot_be_changed():
    settings = Settings()

    with pytest.raises(ValidationError, match="frozen"):
        settings.default_model = "x"
    with pytest.raises(ValidationError, match="frozen"):
        settings.openai.project = "x"


def test_settings_pickle_with_their_origins(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    settings = Settings(providers={"lite": {"kind": "litellm"}})
    copy = pickle.loads(pickle.dumps(settings))

    assert copy == settings
    assert copy.openai.api_key == SecretStr("sk-1")
    assert copy.origin_of("openai.api_key").winner.variable == "OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("set_key", "only"),
    [
        ("OLLAMA_API_KEY", True),
        (".env", True),
        ("secrets", True),
        ("TIMESTEP_OLLAMA__API_KEY", False),
        ("timestep.toml", False),
        ("argument", False),
        (None, False),
    ],
)
def test_only_the_plain_variable_is_for_the_cloud_alone(monkeypatch, set_key, only):
    arguments = {}
    monkeypatch.setenv("OLLAMA_BASE_URL", "https://gpu")
    match set_key:
        case ".env":
            write(".env", "OLLAMA_API_KEY=k")
        case "secrets":
            write("secrets/ollama_api_key", "k")
            arguments["_secrets_dir"] = "secrets"
        case "timestep.toml":
            write("timestep.toml", '[ollama]\napi_key = "k"')
        case "argument":
            arguments["ollama"] = {"api_key": "k"}
        case str():
            monkeypatch.setenv(set_key, "k")

    why = "OLLAMA_API_KEY is for ollama.com and is not sent to https://gpu" if only else ""
    assert Settings(**arguments).why_ollama_key_is_withheld == why


def test_the_cloud_key_beside_a_plain_http_server_is_fine(monkeypatch):
    """It will not be sent there."""
    monkeypatch.setenv("OLLAMA_API_KEY", "k")
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://10.0.0.1:11434")

    assert Settings().ollama.base_url == "http://10.0.0.1:11434"


@pytest.mark.parametrize(
    "arguments",
    [
        {"openai": {"api_key": "k", "base_url": "http://10.0.0.1/v1", "allow_insecure": True}},
        {"openai": {"api_key": "k", "base_url": "http://localhost:8000/v1"}},
        {"ollama": {"api_key": "k", "base_url": "http://10.0.0.1", "allow_insecure": True}},
        {"ollama": {"api_key": "k", "base_url": "https://gpu.example.com"}},
    ],
)
def test_a_key_may_travel_encrypted_or_on_this_machine_or_when_allowed(arguments):
    assert Settings(**arguments).model_fields_set == set(arguments)


def test_the_schema_describes_every_field_for_editors():
    schema = Settings.model_json_schema()
    models = [schema, *schema["$defs"].values()]

    assert json.loads(json.dumps(schema)) == schema
    for model in models:
        assert model["description"]
        for name, field in model["properties"].items():
            assert field.get("description"), f"{model['title']}.{name}"
    assert schema["additionalProperties"] is False


def test_bytes_that_are_no_text_are_refused_like_any_other_text(monkeypatch):
    for name in ("TIMESTEP_\udcff", "TIMESTEP_PROVIDERS__\udcff__KIND", "TIMESTEP_ALIASES__\udcff"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "\udcff")
            with pytest.raises(ConfigurationError) as caught:
                load_settings()
            assert str(caught.value).encode()


names = st.text(alphabet="ABCXYZ_0", min_size=0, max_size=30)
known = st.sampled_from(
    [
        "OPENAI", "OPENAI__API_KEY", "OPENAI__BASE_URL", "OPENAI__TIMEOUT", "OPENAI__HEADERS",
        "OPENAI__HEADERS__X", "OLLAMA", "OLLAMA__HOST", "OLLAMA__BASE_URL", "OLLAMA__OPTIONS",
        "OLLAMA__OPTIONS__A__B", "OLLAMA__MODELS", "OLLAMA__MODELS__M", "OLLAMA__KEEP_ALIVE",
        "OLLAMA__TIMEOUT", "OLLAMA__TIMEOUT__IDLE", "PROVIDERS", "PROVIDERS__X",
        "PROVIDERS__X__KIND", "PROVIDERS__X__BASE_URL", "PROVIDERS__X__Y__Z", "ALIASES",
        "ALIASES__A", "ALIASES__A__B", "DEFAULT_MODEL", "DEFAULT_MODEL__X", "", "_", "__",
    ]
)  # a table reads better in rows # fmt: skip
texts = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.sampled_from(
        ["openai", "ollama", "x", "{}", "[]", "null", "NaN", "1e999", '{"kind": "openai"}', "[" * 5000,
         '{"a": "b", "b": "a"}', '{"": {"": 1}}', "9" * 5000, "http://[", "\udcff", '{"\\ud800": 1}']
    ),
)  # a table reads better in rows # fmt: skip


@given(st.dictionaries(names | known, texts, max_size=4))
def test_no_variable_raises_anything_but_a_configuration_error(variables):
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, text in variables.items():
            monkeypatch.setenv(f"TIMESTEP_{name}", text)
        monkeypatch.delenv("TIMESTEP_CONFIG", raising=False)
        monkeypatch.delenv("TIMESTEP_SECRETS_DIR", raising=False)
        try:
            Settings()
        except (ValidationError, SettingsError):
            with pytest.raises(ConfigurationError):
                load_settings()
        else:
            assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("OLLAMA_BASE_URL", "base_url"),
        ("OLLAMA_HOST", "host"),
        ("TIMESTEP_OLLAMA__BASE_URL", "base_url"),
    ],
)
@pytest.mark.parametrize("suffix", ["/v1", "/api/"])
def test_the_path_of_an_api_is_cut_off_with_one_warning(monkeypatch, caplog, name, field, suffix):
    monkeypatch.setenv(name, f"http://gpu:11434{suffix}")

    assert getattr(load_settings().ollama, field) == "http://gpu:11434"
    assert len(caplog.messages) == 1
    assert "http://gpu:11434 ends in" in caplog.text
