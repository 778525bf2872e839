"""``timestep config``: what is set, by whom, and a file to begin with."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import timestep
from timestep.config.provenance import toml_value
from timestep.config.settings import load_settings
from timestep.config.starter import settings_template


@pytest.fixture
def sources(monkeypatch):
    """Three sources that disagree."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-geheim")
    Path(".env").write_text("\nOLLAMA_BASE_URL=http://localhost:1\n")
    Path("timestep.toml").write_text(
        'default_model = "fast"\n[ollama]\nbase_url = "http://gpu"\n'
        '[ollama.headers]\nX-Key = "geheim"\n[aliases]\nfast = "ollama/qwen3:4b"\n'
    )


def test_show_prints_what_is_set_and_who_set_it(invoke, sources):
    result = invoke("config", "show")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        'openai.api_key = "**********"           # environment variable OPENAI_API_KEY\n'
        'ollama.base_url = "http://localhost:1"  # .env:2\n'
        'ollama.headers.X-Key = "**********"     # timestep.toml:5\n'
        'aliases.fast = "ollama/qwen3:4b"        # timestep.toml:7\n'
        'default_model = "fast"                  # timestep.toml:1\n'
    )
    assert tomllib.loads(result.stdout)["aliases"] == {"fast": "ollama/qwen3:4b"}


def test_show_all_prints_the_defaults_too(invoke):
    shown = invoke("config", "show", "--all").stdout

    assert re.search(r"^ollama\.tool_emulation = false +# default$", shown, re.MULTILINE)
    assert re.search(r"^# default_model is unset +# default$", shown, re.MULTILINE)
    assert tomllib.loads(shown)["ollama"]["options"] == {}


def test_show_of_nothing_says_how_to_begin(invoke):
    result = invoke("config", "show")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "timestep config init" in result.stderr


def test_show_can_be_read_by_programs(invoke, sources):
    result = invoke("config", "show", "--json")

    value = json.loads(result.stdout)
    assert value["ollama"]["base_url"] == "http://localhost:1"
    assert value["openai"]["timeout"] is None
    assert "geheim" not in result.output


def test_explain_names_the_winner_and_the_losers(invoke, sources, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    assert invoke("config", "explain", "ollama.base_url").stdout == (
        'ollama.base_url = "http://localhost:1"\n'
        "  from       .env:2\n"
        "  wins over  timestep.toml:3\n"
        "  variable   TIMESTEP_OLLAMA__BASE_URL\n"
        "             OLLAMA_BASE_URL\n"
        "  The server for every model, cloud names too, or a list of\n"
        "  servers that share the requests. Without it, local names\n"
        "  go to host and cloud names to ollama.com.\n"
    )


@pytest.mark.parametrize("key", ["openai.api_key", "OPENAI_API_KEY", "TIMESTEP_OPENAI__API_KEY"])
def test_explain_masks_secrets_and_takes_keys_and_variables(invoke, sources, key):
    result = invoke("config", "explain", key)

    assert 'openai.api_key = "**********"\n  from       environment variable' in result.stdout
    assert "geheim" not in result.output


def test_explain_of_a_table_lists_what_is_set_in_it(invoke, sources):
    found = json.loads(invoke("config", "explain", "ollama", "--json").stdout)

    assert [entry["key"] for entry in found] == ["ollama.base_url", "ollama.headers.X-Key"]
    assert found[0]["winner"] == {
        "kind": "dotenv",
        "location": ".env:2",
        "variable": "OLLAMA_BASE_URL",
    }
    assert found[0]["losers"] == [{"kind": "toml", "location": "timestep.toml:3", "variable": None}]
    assert found[1]["value"] == "**********"


def test_explain_of_a_table_without_settings_says_so(invoke):
    result = invoke("config", "explain", "traces")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "all are defaults" in result.stderr


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("default_model", "# default_model is unset"),
        ('ollama.models."llama3.2".num_ctx', '# ollama.models."llama3.2".num_ctx is unset'),
        ("TIMESTEP_TRACES__RETENTION", "traces.retention = 30.0"),
    ],
)
def test_explain_of_an_unset_key_shows_the_default(invoke, key, line):
    first, second, *_ = invoke("config", "explain", key).stdout.splitlines()

    assert first == line
    assert second == "  from       default"


def test_explain_finds_names_that_variables_cannot_spell(invoke, monkeypatch):
    Path("timestep.toml").write_text(
        '[providers.my-llm]\nkind = "openai"\nbase_url = "https://example.com/v1"\n'
    )
    shown = invoke("config", "explain", "TIMESTEP_PROVIDERS__MY_LLM__BASE_URL").stdout

    assert 'providers.my-llm.base_url = "https://example.com/v1"' in shown


@pytest.mark.parametrize(
    ("key", "next_step"),
    [
        ("ollama.base_urll", "Did you mean ollama.base_url?"),
        ("zzz", "config show --all"),
        ("a b", "is not a key"),
        ("=", "is not a key"),
    ],
)
def test_explain_refuses_what_is_no_setting(invoke, key, next_step):
    result = invoke("config", "explain", key)

    assert (result.exit_code, result.stdout) == (2, "")
    assert next_step in result.stderr


@pytest.mark.parametrize("command", [("show",), ("explain", "ollama")])
def test_a_configuration_that_cannot_be_used_ends_with_two(invoke, command):
    Path("timestep.toml").write_text("[olama]\n")

    result = invoke("config", *command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "olama (timestep.toml:1): unknown setting. Did you mean ollama?" in result.stderr


def test_init_writes_a_file_that_loads_and_changes_nothing(invoke):
    result = invoke("config", "init")

    assert (result.exit_code, result.stdout) == (0, "")
    text = Path("timestep.toml").read_text()
    assert text.startswith("#:schema ./timestep.schema.json\n")
    assert tomllib.loads(text) == {}
    assert json.loads(Path("timestep.schema.json").read_text())["title"] == "timestep settings"
    assert load_settings() == load_settings(config_file="/dev/null")


def test_every_example_of_the_template_can_be_uncommented(monkeypatch):
    """The file that we wrote causes no error."""
    text = re.sub(r"^#(?=[\w\[])", "", settings_template(), flags=re.MULTILINE)
    for name in re.findall(r'"env:(\w+)"', text):
        monkeypatch.setenv(name, "key")
    Path("timestep.toml").write_text(text)

    settings = load_settings()

    assert settings.ollama.models == {
        "llama3.2": {"num_ctx": 32768, "settings": {"temperature": 0.2}}
    }
    assert set(settings.providers) == {"groq", "workstation", "claude", "mistral"}
    assert settings.aliases == {"fast": "ollama/qwen3:4b"}


def test_the_template_has_every_setting(invoke):
    text = settings_template()

    for leaf in json.loads(invoke("config", "show", "--json").stdout).items():
        section, keys = leaf
        for key in keys if isinstance(keys, dict) else [section]:
            assert re.search(rf"^#(\[{section}\.)?{key}( =|\])|\.{key}\.", text, re.MULTILINE), key


@pytest.mark.parametrize("existing", ["timestep.toml", "timestep.schema.json"])
def test_init_overwrites_nothing(invoke, existing):
    Path(existing).write_text("mine")

    result = invoke("config", "init")

    assert Path(existing).read_text() == "mine"
    assert result.exit_code == (1 if existing == "timestep.toml" else 0)
    assert f"{existing} exists" in result.stderr


def test_init_takes_a_directory_and_refuses_one_it_cannot_write(invoke, tmp_path):
    (tmp_path / "sub").mkdir()
    assert invoke("config", "init", "sub").exit_code == 0
    assert (tmp_path / "sub" / "timestep.toml").exists()
    assert invoke("config", "init", "absent").exit_code == 2
    result = invoke("config", "init", "/proc")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_the_schema_knows_every_section(invoke):
    schema = json.loads(invoke("config", "schema").stdout)

    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) >= {"openai", "ollama", "providers", "aliases", "traces"}


def test_path_tells_which_files_are_read(invoke, tmp_path, monkeypatch):
    Path(".env").touch()
    Path("timestep.toml").touch()
    Path("pyproject.toml").write_text("[tool.timestep]\n")

    assert invoke("config", "path").stdout.splitlines() == [
        "read     .env",
        "read     timestep.toml",
        "not read pyproject.toml [tool.timestep]",
        f"missing  {tmp_path}/config/timestep/timestep.toml",
    ]


def test_path_follows_the_variables_that_name_files(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("TIMESTEP_CONFIG", "other.toml")
    monkeypatch.setenv("TIMESTEP_SECRETS_DIR", str(tmp_path))
    Path("other.toml").touch()

    assert json.loads(invoke("config", "path", "--json").stdout) == [
        {"path": str(tmp_path / ".env"), "state": "missing"},
        {"path": str(tmp_path), "state": "read"},
        {"path": str(tmp_path / "other.toml"), "state": "read"},
    ]


def test_path_tells_a_named_file_that_is_missing(invoke):
    assert "missing  nope.toml\n" in invoke("config", "path", "--config", "nope.toml").stdout


def test_path_works_while_the_configuration_does_not(invoke):
    Path("timestep.toml").write_text("[nonsense]\n")
    assert "read     timestep.toml" in invoke("config", "path").stdout

    Path("timestep.toml").unlink()
    Path("pyproject.toml").write_text("=")
    result = invoke("config", "path")
    assert result.exit_code == 2
    assert "pyproject.toml:1 is not valid TOML" in result.stderr


def test_config_imports_neither_the_sdk_nor_a_client():
    code = """
import sys
from click.testing import CliRunner
from timestep.cli import main
for arguments in ("show", "show --json", "explain ollama", "schema", "path", "init"):
    assert CliRunner().invoke(main, f"config {arguments}").exit_code == 0, arguments
print(*sys.modules)
"""
    root = str(Path(timestep.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root, "OLLAMA_HOST": "gpu"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())

    assert "timestep.config.settings" in imported
    assert not imported & {"agents", "openai", "ollama", "httpx", "timestep.ollama"}


@pytest.mark.parametrize(
    "value",
    [True, 3, 1.5, 'a"\\\n\x7f\x00é', [1, "x"], {"a.b": {"c": [True]}}, {}],
)
def test_a_value_written_as_toml_reads_back(value):
    assert tomllib.loads(f"key = {toml_value(value)}") == {"key": value}


APPLICATION = """\
from pydantic_settings import SettingsConfigDict, YamlConfigSettingsSource
from timestep import Settings

class AppSettings(Settings):
    model_config = SettingsConfigDict(yaml_file="app.yaml", env_file="app.env")

    region: str = "eu"
    \"\"\"Where the application runs.\"\"\"

    @classmethod
    def settings_customise_sources(cls, settings_cls, **sources):
        inherited = super().settings_customise_sources(settings_cls, **sources)
        return (*inherited, YamlConfigSettingsSource(settings_cls))

class Broken(Settings):
    @classmethod
    def settings_customise_sources(cls, settings_cls, **sources):
        raise RuntimeError("geheim")
"""


@pytest.fixture
def application():
    Path("app.py").write_text(APPLICATION)
    Path("app.yaml").write_text("openai: {timeout: 7}\ndefault_model: from-yaml\n")
    Path("app.env").write_text("TIMESTEP_REGION=us\n")
    Path("timestep.toml").write_text('default_model = "from-toml"\n')


def test_explain_knows_the_name_of_a_variable_with_hyphens(invoke, monkeypatch):
    monkeypatch.setenv("TIMESTEP_ALIASES__MY_FAST", "ollama/x")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__MY_LLM__KIND", "ollama")

    assert invoke("config", "explain", "aliases.my-fast").stdout.startswith("aliases.my_fast = ")
    assert "providers.my_llm.kind = " in invoke("config", "explain", "providers.my-llm").stdout


def test_path_names_the_files_of_an_application(invoke, application):
    result = invoke("config", "path", "--settings", "app.py:AppSettings")

    assert result.stdout.splitlines()[:2] == ["read     app.env", "read     timestep.toml"]
    assert invoke("config", "path", "--settings", "app.py:Broken").exit_code == 2


def test_explain_says_that_a_host_is_not_used(invoke, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", "gpu")
    monkeypatch.setenv("OLLAMA_BASE_URL", "https://lab.example")
    shown = invoke("config", "explain", "OLLAMA_HOST").stdout
    [found] = json.loads(invoke("config", "explain", "ollama.host", "--json").stdout)

    why = "this is not used, because base_url (environment variable OLLAMA_BASE_URL) is for every model"
    assert f"  but        {why}\n" in shown
    assert found["unused"] == why
    assert "but   " not in invoke("config", "explain", "ollama.base_url").stdout


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("openai.timeout", ["openai.timeout = 7.0", "  from       YamlConfigSettingsSource"]),
        (
            "default_model",
            [
                'default_model = "from-toml"',
                "  from       timestep.toml:1",
                "  wins over  YamlConfigSettingsSource",
            ],
        ),
        ("region", ['region = "us"', "  from       app.env:1"]),
    ],
)
def test_explain_names_the_sources_of_an_application(invoke, application, key, lines):
    result = invoke("config", "explain", key, "--settings", "app.py:AppSettings")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[: len(lines)] == lines


def test_explain_describes_a_setting_of_the_application(invoke, application):
    result = invoke("config", "explain", "region", "--settings", "app.py:AppSettings")

    assert "Where the application runs." in result.stdout


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("app.py:Nothing", "does not name a subclass of timestep.Settings"),
        ("app.py", "does not name a settings class; write module:attribute"),
        ("missing.py:A", "There is no file 'missing.py'."),
        ("app.py:Broken", "A source of Broken raised RuntimeError; call Broken() in Python"),
    ],
)
def test_a_reference_that_leads_to_no_settings_is_refused(invoke, application, reference, words):
    result = invoke("config", "show", "--settings", reference)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "geheim" not in result.output
