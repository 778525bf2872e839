"""Each mistake is a `ConfigurationError` that names the key, the place, and what to write instead."""

import os
import re
import socket
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from tests.steps import steps
from timestep.config.settings import Settings, load_settings
from timestep.errors import ConfigurationError


def message(**arguments):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**arguments)
    with pytest.raises((ValidationError, SettingsError)):
        Settings(**{f"_{k}" if k.endswith("_file") else k: v for k, v in arguments.items()})
    return str(caught.value)


def test_a_typing_error_in_toml_names_line_and_nearest_key():
    Path("timestep.toml").write_text('# mine\n[ollama]\nbase_rul = "http://gpu:11434"\n')

    assert message() == (
        "ollama.base_rul (timestep.toml:3): unknown setting. Did you mean ollama.base_url?"
    )


def test_a_typing_error_in_pyproject_names_its_line():
    Path("pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.timestep]\ndefalt_model = "m"\n'
    )

    assert message() == (
        "defalt_model (pyproject.toml:5): unknown setting. Did you mean default_model?"
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("TIMESTEP_OLLAMA__NUM_CTX", "TIMESTEP_OLLAMA__OPTIONS__NUM_CTX"),
        ("TIMESTEP_DEFAULT_MODLE", "TIMESTEP_DEFAULT_MODEL"),
        ("TIMESTEP_OPENAI_API_KEY", "TIMESTEP_OPENAI__API_KEY"),
        ("TIMESTEP_OPNEAI__API_KEY", "TIMESTEP_OPENAI__API_KEY"),
        ("TIMESTEP_OLLAMA__TIMEOUT__CONECT", "TIMESTEP_OLLAMA__TIMEOUT__CONNECT"),
        ("TIMESTEP_PROVIDERS__X__BASEURL", "TIMESTEP_PROVIDERS__X__BASE_URL"),
    ],
)
@pytest.mark.parametrize("source", ["environment", ".env", "secrets"])
def test_a_typing_error_in_a_variable_names_the_nearest_variable(monkeypatch, source, typed, meant):
    monkeypatch.setenv("TIMESTEP_PROVIDERS__X__KIND", "litellm")
    monkeypatch.setenv("TIMESTEP_OLLAMA__TIMEOUT__IDLE", "3")
    match source:
        case "environment":
            place = f"environment variable {typed}"
            monkeypatch.setenv(typed, "secret-value")
        case ".env":
            place = ".env:2"
            Path(".env").write_text(f"OTHER=1\n{typed}=secret-value\n")
        case "secrets":
            place = f"secrets file {typed}"
            Path(typed).write_text("secret-value")
            monkeypatch.setenv("TIMESTEP_SECRETS_DIR", ".")

    text = message()
    assert f"({place}): unknown setting. Did you mean {meant}?" in text
    assert "secret-value" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"default_modle": "x"},
            "default_modle (argument): unknown setting. Did you mean default_model?",
        ),
        ({"openai_api_key": "x"}, "Did you mean openai.api_key?"),
        (
            {"zzz": 1},
            "zzz (argument): unknown setting. Known here: aliases, default_model, fallback, ollama, openai, providers",
        ),
        (
            {"ollama": {"qqq": 1}},
            "ollama.qqq (argument): unknown setting. Known here: allow_insecure,",
        ),
        ({"openai": "x"}, "openai (argument): must be a table of settings"),
        ({"openai": {"timeout": "soon"}}, "openai.timeout (argument): must be a valid number"),
        ({"openai": {"timeout": "soon"}}, "for example timeout = 120"),
        ({"openai": {"timeout": 0}}, "openai.timeout (argument): must be greater than 0"),
        ({"openai": {"timeout": float("inf")}}, "must be a finite number"),
        (
            {"openai": {"api": "chat"}},
            "openai.api (argument): must be 'responses' or 'chat_completions'",
        ),
        (
            {"openai": {"organization": ""}},
            "openai.organization (argument): must have at least 1 character",
        ),
        (
            {"openai": {"headers": {"a b": "x"}}},
            "'a b' cannot be a header's name; write one such as X-Title",
        ),
        (
            {"openai": {"headers": {"X-A": "a\nb"}}},
            "the value of the header 'X-A' holds a line break",
        ),
        (
            {"openai": {"headers": {"Content-Length": "3"}}},
            "openai.headers.Content-Length (argument): 'Content-Length' is set by the connection",
        ),
        (
            {"providers": {"a": {"kind": "ollama", "headers": {"transfer-encoding": "chunked"}}}},
            "providers.a.headers.transfer-encoding (argument): 'transfer-encoding' is set by the connection",
        ),
        (
            {"openai": {"api_key": "a\nb"}},
            "openai.api_key (argument): the key holds a space, a line break",
        ),
        ({"openai": {"api_key": "schlüssel"}}, "not ASCII; copy it again"),
        (
            {"ollama": {"timeout": {"idle": -1}}},
            "ollama.timeout.idle (argument): must be greater than 0",
        ),
        ({"ollama": {"timeout": {"read": 1}}}, "ollama.timeout.read (argument): unknown setting."),
        ({"ollama": {"keep_alive": "ten"}}, 'write a duration such as "10m"'),
        ({"ollama": {"keep_alive": True}}, 'write a duration such as "10m"'),
        ({"ollama": {"options": 3}}, "ollama.options (argument): must be a table of settings"),
        ({"ollama": {"on_context_overflow": "cut"}}, "must be 'error' or 'truncate'"),
        (
            {"default_model": " "},
            "default_model (argument): it is empty; name a model such as",
        ),
        (
            {"providers": {"groq": {"kind": "opnai"}}},
            (
                "providers.groq (argument): unknown kind; known kinds: any-llm, litellm, ollama, "
                'openai. Did you mean "openai"?'
            ),
        ),
        (
            {"providers": {"groq": {"kind": "zz"}}},
            "unknown kind; known kinds: any-llm, litellm, ollama, openai",
        ),
        (
            {"providers": {"groq": {"base_url": "https://x"}}},
            'providers.groq (argument): needs a kind, as in kind = "openai"; known kinds: any-llm,',
        ),
        ({"providers": {"groq": {}}}, "providers.groq (argument): needs a kind"),
        ({"providers": {"groq": 3}}, "providers.groq (argument): needs a kind"),
        ({"providers": {"groq": {"kind": 3}}}, "providers.groq (argument): needs a kind"),
        (
            {"providers": {"groq": {"kind": "openai"}}},
            (
                "providers.groq.base_url (argument): is missing; add it, for example base_url = "
                '"https://api.groq.com/openai/v1"'
            ),
        ),
        (
            {"providers": {"g": {"kind": "litellm", "xyzzy": {}}}},
            "providers.g.xyzzy (argument): unknown setting. Known here: allow_insecure, api_key,",
        ),
        (
            {"providers": {"a/b": {"kind": "litellm"}}},
            (
                "'a/b' cannot be a prefix: it is the part of a model name before the first slash, "
                "without a space, such as 'groq'; write [providers.a-b]"
            ),
        ),
        ({"providers": {"Groq": {"kind": "litellm"}}}, "write [providers.groq]"),
        ({"providers": {"": {"kind": "litellm"}}}, "'' cannot be a prefix"),
        ({"providers": {"my groq": {"kind": "litellm"}}}, "write [providers.my-groq]"),
        (
            {"aliases": {"fast": "fast"}},
            (
                "aliases.fast (argument): the aliases form a ring: fast -> fast; let one of them name a "
                'model, as in "ollama/qwen3:4b"'
            ),
        ),
        ({"aliases": {"a": "b", "b": ["x", "c"], "c": "a"}}, "form a ring: "),
        (
            {"aliases": {"a": 3}},
            "aliases.a (argument): it is int; write a model's name, or a list of names",
        ),
        ({"aliases": {"a": []}}, "aliases.a (argument): the list is empty; name at least 1 model"),
        ({"aliases": {"a": ["x", ""]}}, "aliases.a (argument): number 2 of the list is empty"),
        ({"aliases": {"": "x"}}, "the name of an alias must not begin or end with a space"),
        (
            {"openai": {"base_url": "api.example.com/v1"}},
            (
                "openai.base_url (argument): a base URL starts with http:// or https://; write "
                "https:// before it"
            ),
        ),
        (
            {"openai": {"base_url": "https://me:pw@x/v1"}},
            "must not contain a user name or password; set api_key instead",
        ),
        (
            {"ollama": {"host": "gpu:99999"}},
            "ollama.host (argument): the URL has no valid host and port",
        ),
        (
            {"openai": {"base_url": "http://10.0.0.1/v1", "api_key": "k"}},
            (
                "openai (argument): an API key would go to http://10.0.0.1 unencrypted; use https://, or "
                "set allow_insecure = true"
            ),
        ),
        *(
            (
                {"openai": {**openai, "websocket_base_url": "ws://10.0.0.1/v1"}},
                "openai (argument): an API key would go to http://10.0.0.1 unencrypted",
            )
            for openai in (
                {"api_key": "k"},
                {"api_key_command": ["printf", "k"]},
                {"api_key": "k", "base_url": "https://api.openai.com/v1"},
            )
        ),
        (
            {"ollama": {"base_url": "http://10.0.0.1", "api_key": "k"}},
            "ollama.base_url (argument): an API key would go to http://10.0.0.1 unencrypted",
        ),
        (
            {"providers": {"g": {"kind": "openai", "base_url": "http://g", "api_key": "k"}}},
            "providers.g (argument): an API key would go to http://g unencrypted",
        ),
        (
            {"providers": {"g": {"kind": "ollama", "base_url": "http://g", "api_key": "k"}}},
            "providers.g (argument): an API key would go to http://g unencrypted",
        ),
    ],
)
def test_a_wrong_argument_is_refused(arguments, expected):
    assert expected in message(**arguments)


def test_every_mistake_is_listed(monkeypatch):
    monkeypatch.setenv("TIMESTEP_OLLAMA__TIMEOUT", "soon")
    monkeypatch.setenv("OLLAMA_HOST", "http://user:pw@gpu")

    lines = message(default_model="").splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "ollama.host (environment variable OLLAMA_HOST)",
        "ollama.timeout (environment variable TIMESTEP_OLLAMA__TIMEOUT)",
        "default_model (argument)",
    ]


def test_a_ring_is_found_where_it_is(monkeypatch):
    monkeypatch.setenv("TIMESTEP_ALIASES__GOOD", "ollama/x")
    Path("timestep.toml").write_text('[aliases]\n\na = "b"\nb = "a"\n')

    assert message().startswith(("aliases.a (timestep.toml:3)", "aliases.b (timestep.toml:4)"))


TWICE = "a key or a table is written twice; keep one of them"
QUOTES = 'text values need quotes, as in default_model = "ollama/llama3.2"'


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ("default_model = ollama/x\n", "timestep.toml:1", QUOTES),
        ("project = 2026-99-99\n", "timestep.toml:1", QUOTES),
        ('\n[openai\napi = "x"', "timestep.toml:2", "this is not a key with a value"),
        ("x = [\n", "timestep.toml", "it ends in the middle of a value or a table"),
        ('x = "\n', "timestep.toml:1", "a string has no closing quote"),
        ('x = """\n', "timestep.toml", "it ends in the middle"),
        ('x = "C:\\Users"', "timestep.toml:1", "a string holds a single \\; write"),
        ("x: 3\n", "timestep.toml:1", "there is no = after a key"),
        ("x = {a = 1\nb = 2}\n", "timestep.toml:1", "a bracket is not closed"),
        ("x = 1\nx = 2\n", "timestep.toml:2", TWICE),
        ("[x]\n[y]\n[x]\n", "timestep.toml:3", TWICE),
        ("x = 1\n[x.y]\n", "timestep.toml:2", TWICE),
        ("x = {a = 1, a = 2}\n", "timestep.toml:1", TWICE),
        ("x = {a = 1}\n[x.b]\n", "timestep.toml:2", TWICE),
        ("[a.b]\n[a]\nb.c = 1\n", "timestep.toml:3", TWICE),
        ("x = " + "[" * 5000, "timestep.toml", "tables and lists are nested too deep"),
        ("x = " + "9" * 5000, "timestep.toml", "a number has too many digits"),
    ],
)
def test_malformed_toml_names_the_line_and_what_is_wrong_there(text, place, advice):
    Path("timestep.toml").write_text(text)

    told = message()
    assert told.startswith(f"{place} is not valid TOML")
    assert advice in told
    assert (QUOTES in told) == (advice == QUOTES)


@pytest.mark.parametrize("name", ["timestep.toml", "pyproject.toml", ".env"])
def test_a_file_that_is_not_utf8_is_refused(name):
    Path(name).write_bytes('x = "ü"'.encode("latin-1"))

    assert message() == f"{name} is not UTF-8 text; save it with that encoding"


def test_a_secret_that_is_not_utf8_is_refused(monkeypatch):
    Path("OPENAI_API_KEY").write_bytes(b"\xff")
    monkeypatch.setenv("TIMESTEP_SECRETS_DIR", ".")

    assert message() == "OPENAI_API_KEY is not UTF-8 text; save it with that encoding"


def test_an_unreadable_env_file_is_refused():
    Path(".env").symlink_to(".env")

    assert message().startswith(".env cannot be read (")


def test_a_quote_without_an_end_is_named_without_its_value():
    Path(".env").write_text('# mine\nfoo bar\n\nexport OPENAI_API_KEY="sk-secret\nOTHER=1\n')

    assert message() == (
        ".env:4: this does not set OPENAI_API_KEY; write NAME=VALUE, and end a quoted value with "
        "its quote"
    )


def test_a_statement_of_another_program_is_skipped_without_a_word(caplog):
    Path(".env").write_text("foo bar baz\nA=1\nOPENAI_API_KEY=${A}x\n")

    assert load_settings().openai.api_key.get_secret_value() == "1x"
    assert caplog.messages == []


NAMED = {
    "TIMESTEP_OPENAI__API_KEY sk-secret": "TIMESTEP_OPENAI__API_KEY",
    "TIMESTEP_OPENAI__API_KEY: sk-secret": "TIMESTEP_OPENAI__API_KEY",
    "TIMESTEP_OPENAI__API_KEY:sk-secret==": "TIMESTEP_OPENAI__API_KEY",
    "TIMESTEP_PROVIDERS__GROQ__API_KEY\tsk-secret": ("TIMESTEP_PROVIDERS__GROQ__API_KEY"),
    "TIMESTEP_OPENAI__HEADERS__AUTHORIZATION:sk-secret=x": "the name",
    "TIMESTEP_OPENAI__API_KEYsk_secret": "the name",
    "TIMESTEP_SECRETS_DIR /run/sk-secret": "TIMESTEP_SECRETS_DIR",
    "OPENAI_API_KEY: sk-secret": "OPENAI_API_KEY",
    "OPENAI_API_KEY:sk-secret": "OPENAI_API_KEY",
    "OPENAI_API_KEY:sk-secret==": "OPENAI_API_KEY",
    "OPENAI_API_KEY := sk-secret": "OPENAI_API_KEY",
    "openai_api_key sk-secret": "openai_api_key",
    "export OPENAI_API_KEY sk-secret": "OPENAI_API_KEY",
    "set OPENAI_API_KEY=sk-secret": "OPENAI_API_KEY",
    '$env:OPENAI_API_KEY="sk-secret"': "OPENAI_API_KEY",
    '"OPENAI_API_KEY"="sk-secret"': "OPENAI_API_KEY",
    "- OPENAI_API_KEY=sk-secret": "OPENAI_API_KEY",
    "OTHER='a\nOPENAI_API_KEY='sk-secret'": "OPENAI_API_KEY",
}


@pytest.mark.parametrize("statement", NAMED)
def test_a_statement_that_sets_nothing_is_refused_and_not_repeated(statement, caplog):
    Path(".env").write_text(f"# mine\nA=1\n\n{statement}\nB=2\n")

    text = message()
    assert caplog.messages == []
    assert text.startswith(f".env:4: this does not set {NAMED[statement]}; write NAME=VALUE")
    assert "secret" not in text.lower().replace("timestep_secrets_dir", "")


@pytest.mark.parametrize(
    "statement",
    [
        "'OPENAI_PROJECT_ID'=mine",
        "export OPENAI_PROJECT_ID = mine  # OLLAMA_API_KEY: not here",
        "OTHER='OPENAI_API_KEY: x'\nOPENAI_PROJECT_ID=mine",
        "MY_OPENAI_API_KEY: x\nOPENAI_API_KEY_OLD x\nOPENAI_PROJECT_ID=mine",
        "A=${OPENAI_API_KEY}\n# OPENAI_API_KEY: x\nOPENAI_PROJECT_ID=mine",
    ],
)
def test_what_does_set_a_variable_is_read(statement):
    Path(".env").write_text(f"{statement}\n")

    assert load_settings().openai.project == "mine"


def test_a_name_with_a_value_stuck_to_it_is_not_repeated_from_the_environment_either():
    with pytest.raises(ConfigurationError, match=r"^environment: this does not set TIMESTEP_") as e:
        load_settings(environment={"TIMESTEP_OPENAI__API_KEY:sk-secret": "="})

    assert "secret" not in str(e.value)


def test_the_name_of_a_model_may_hold_a_colon():
    Path(".env").write_text("TIMESTEP_OLLAMA__MODELS__QWEN3:4B__NUM_CTX=5\n")

    assert load_settings().ollama.models == {"qwen3:4b": {"num_ctx": 5}}


IN_A_SHELL = 'write the value itself, as in export OPENAI_API_KEY="$NAME"'
MOUNTED = "give the value itself, or mount it as a file in TIMESTEP_SECRETS_DIR"


@pytest.mark.parametrize(
    ("source", "text", "advice"),
    [
        ("environment", "${SECRET}", IN_A_SHELL),
        ("environment", "$SECRET", IN_A_SHELL),
        ("environment", "$(pass SECRET)", IN_A_SHELL),
        ("environment", "%SECRET%", IN_A_SHELL),
        ("environment", "{{ SECRET }}", IN_A_SHELL),
        ("environment", "<SECRET>", IN_A_SHELL),
        ("environment", "env:SECRET", IN_A_SHELL),
        ("environment", "sk-${SECRET}", IN_A_SHELL),
        ("environment", "file:/run/secrets/SECRET", MOUNTED),
        ("environment", "/run/secrets/SECRET", MOUNTED),
        ("environment", "op://vault/SECRET", MOUNTED),
        ("environment", "vault:secret/SECRET", MOUNTED),
        ("environment", "@/run/secrets/SECRET", MOUNTED),
        ("environment", "https://SECRET/v1", "is a URL; give the key itself"),
        ("environment", "arn:aws:SECRET", MOUNTED),
        ("environment", '"sk-SECRET"', "is still in quotes; leave out the quotes"),
        ("environment", "'sk-SECRET", "is still in quotes"),
        (
            "environment",
            "OPENAI_API_KEY=sk-SECRET",
            "begins with the name of a variable; leave out",
        ),
        ("environment", "sk SECRET", "holds a space"),
        ("environment", "sk\tSECRET", "holds a space"),
        ("environment", "Bearer sk-SECRET", "holds a space"),
        (".env", "$SECRET", "write OPENAI_API_KEY=${NAME}, or the value itself"),
        (".env", "env:SECRET", "write OPENAI_API_KEY=${NAME}, or the value itself"),
        (".env", "file:/x/SECRET", MOUNTED),
        (".env", "'\"sk-SECRET\"'", "is still in quotes"),
        ("secrets", "${SECRET}", "the file holds the value itself, and nothing else"),
        ("secrets", "OPENAI_API_KEY=sk-SECRET", "begins with the name of a variable"),
        ("toml", "${SECRET}", 'write api_key = "env:NAME"'),
        ("toml", "$SECRET", 'write api_key = "env:NAME"'),
        ("toml", "file:/x/SECRET", MOUNTED),
        ("argument", "${SECRET}", "give the value itself"),
    ],
)
def test_a_key_that_points_at_a_key_is_refused_with_the_form_that_works(
    monkeypatch, source, text, advice
):
    arguments = {}
    match source:
        case "environment":
            monkeypatch.setenv("OPENAI_API_KEY", text)
        case ".env":
            Path(".env").write_text(f"OPENAI_API_KEY={text}\n")
        case "secrets":
            Path("OPENAI_API_KEY").write_text(text)
            monkeypatch.setenv("TIMESTEP_SECRETS_DIR", ".")
        case "toml":
            Path("timestep.toml").write_text(f"[openai]\napi_key = '{text}'\n")
        case _:
            arguments = {"openai": {"api_key": text}}

    told = message(**arguments)
    assert told.startswith("openai.api_key (")
    assert advice in told
    assert "SECRET" not in told.replace("TIMESTEP_SECRETS_DIR", "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENAI_PROJECT_ID", "env:HOME"),
        ("OPENAI_ORG_ID", "${ORG}"),
        ("OPENAI_BASE_URL", "https://${HOST}/v1"),
        ("OPENAI_BASE_URL", "env:URL"),
        ("OLLAMA_BASE_URL", "{{ url }}"),
        ("TIMESTEP_DEFAULT_MODEL", "${MODEL}"),
        ("TIMESTEP_ALIASES__FAST", '"ollama/x"'),
        ("TIMESTEP_OPENAI__HEADERS__AUTHORIZATION", "Bearer ${TOKEN}"),
        ("TIMESTEP_OLLAMA__HEADERS__X_API_KEY", "env:TOKEN"),
        ("TIMESTEP_PROVIDERS__X", '{"kind": "litellm", "api_key": "${KEY}"}'),
    ],
)
def test_no_other_setting_is_taken_literally_either(variable, value):
    with pytest.raises(ConfigurationError, match=variable):
        load_settings(environment={variable: value})


@pytest.mark.parametrize(
    "key", ["sk-abc_DEF", "id:secret", "abc==", "$ecret!", "a/b+c=", "0a.b-c~d", "sk=3", "a$B"]
)
def test_an_odd_key_is_a_key(key):
    assert load_settings(openai={"api_key": key}).openai.api_key.get_secret_value() == key


VARIABLES_ONLY = {
    "TIMESTEP_OPENAI__TIMEOUT=soon": "for example TIMESTEP_OPENAI__TIMEOUT=120",
    "TIMESTEP_PROVIDERS__X__API_KEY=k": "needs a kind, as in TIMESTEP_PROVIDERS__X__KIND=openai;",
    "TIMESTEP_PROVIDERS__X__KIND=openai": (
        "is missing; add it, for example TIMESTEP_PROVIDERS__X__BASE_URL=https://api.groq.com/openai/v1"
    ),
    'TIMESTEP_PROVIDERS={"X/Y": {"kind": "litellm"}}': "write TIMESTEP_PROVIDERS__X_Y__…",
    'TIMESTEP_ALIASES={"": "x"}': "as in TIMESTEP_ALIASES__FAST=ollama/qwen3:4b",
    "OPENAI_BASE_URL=http://10.0.0.1": "or set TIMESTEP_OPENAI__ALLOW_INSECURE=true",
    "OLLAMA_BASE_URL=http://gpu": "or set TIMESTEP_OLLAMA__ALLOW_INSECURE=true",
    "TIMESTEP_OLLAMA__OPTIONS=3": "in variables such as TIMESTEP_OLLAMA__OPTIONS__NAME",
}


@pytest.mark.parametrize("assignment", VARIABLES_ONLY)
def test_who_uses_variables_is_told_of_variables(assignment):
    name, _, value = assignment.partition("=")
    keys = {"OPENAI_API_KEY": "k", "TIMESTEP_OLLAMA__API_KEY": "k"}
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment={**keys, name: value})

    assert VARIABLES_ONLY[assignment] in str(caught.value)
    assert " = " not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "advice"),
    [
        ("\n[olama]\nkeep_alive = 3\n", "olama (timestep.toml:2)", "Did you mean ollama?"),
        ("\n[olama.options]\nnum_ctx = 3\n", "olama (timestep.toml:2)", "Did you mean ollama?"),
        ("a = { b = 1 }\n", "a (timestep.toml:1)", "unknown setting"),
        ("[OpenAI]\n", "OpenAI (timestep.toml:1)", "Did you mean openai?"),
        (
            "[ollama]\nnum_ctx = 1\n",
            "ollama.num_ctx (timestep.toml:2)",
            "Did you mean ollama.options.num_ctx?",
        ),
        (
            '[providers."my.Lab"]\nkind = "litellm"\n',
            'providers."my.Lab" (timestep.toml:1)',
            'write [providers."my.lab"]',
        ),
        (
            "\n[providers.GROQ]\nkind = 'litellm'\n",
            "providers.GROQ (timestep.toml:2)",
            "'GROQ' cannot be a prefix: it has capital letters; write [providers.groq]",
        ),
        (
            "[providers.GROQ]\nkind = 'openai'\nbase_url = 'http://127.0.0.1/v1'\n",
            "providers.GROQ (timestep.toml:1)",
            "write [providers.groq]",
        ),
        (
            "[ollama.options]\ntop_p = 1\nnum_ctx = 'x'\n",
            "ollama.options.num_ctx (timestep.toml:3)",
            "must be a whole number",
        ),
    ],
)
def test_a_table_is_named_where_it_begins(text, line, advice):
    Path("timestep.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(
            environment={"TIMESTEP_PROVIDERS__GROQ__API_KEY": "k"} if "GROQ" in text else {}
        )

    assert str(caught.value).startswith(line)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("TE", "x"), ("X_KEY", "${K}"), ("AUTHORIZATION", "Bearer env:K")]
)
def test_the_variable_of_a_wrong_header_is_named(name, value):
    Path("timestep.toml").write_text("[openai.headers]\nX-Other = '1'\n")
    variable = f"TIMESTEP_OPENAI__HEADERS__{name}"
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment={"TIMESTEP_OPENAI__HEADERS__A": "1", variable: value})

    header = name.lower().replace("_", "-")
    assert str(caught.value).startswith(
        f"openai.headers.{header} (environment variable {variable})"
    )


@pytest.mark.parametrize(
    "variable", ["TIMESTEP_OLLAMA__OPTIONS__NUM_CTX", "TIMESTEP_OLLAMA__OPTIONS"]
)
def test_the_variable_of_a_wrong_option_is_named(variable):
    Path("timestep.toml").write_text("[ollama.options]\ntop_p = 0.5\nnum_keep = 3\n")
    value = '{"num_ctx": "x"}' if variable.endswith("OPTIONS") else "x"
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment={variable: value})

    told = str(caught.value)
    assert told.startswith(f"ollama.options.num_ctx (environment variable {variable}): the Ollama")


def test_a_statement_of_somebody_else_may_be_unreadable():
    Path(".env").write_text("foo bar\nOTHER='1\n")

    assert load_settings().openai.api_key is None


def test_missing_explicit_files_are_refused(monkeypatch):
    assert (
        message(env_file="prod.env") == "prod.env does not exist; correct env_file, or leave it out"
    )
    assert (
        message(config_file="a.toml")
        == "a.toml does not exist; correct config_file, or leave it out"
    )

    monkeypatch.setenv("TIMESTEP_CONFIG", "b.toml")
    assert (
        message()
        == "b.toml does not exist; correct the environment variable TIMESTEP_CONFIG, or leave it out"
    )

    monkeypatch.delenv("TIMESTEP_CONFIG")
    Path(".env").write_text("\nTIMESTEP_CONFIG=c.toml\n")
    assert message() == "c.toml does not exist; correct TIMESTEP_CONFIG (.env:2), or leave it out"

    monkeypatch.setenv("TIMESTEP_SECRETS_DIR", "nowhere")
    assert message().startswith("the secrets directory 'nowhere' cannot be read (No such file")


@pytest.mark.parametrize(
    ("environment", "shorter", "longer"),
    [
        (
            {"TIMESTEP_OLLAMA__TIMEOUT": "5", "TIMESTEP_OLLAMA__TIMEOUT__IDLE": "3"},
            "environment variable TIMESTEP_OLLAMA__TIMEOUT",
            "environment variable TIMESTEP_OLLAMA__TIMEOUT__IDLE",
        ),
        (
            {"TIMESTEP_OLLAMA": '{"timeout": 5}', "TIMESTEP_OLLAMA__TIMEOUT__IDLE": "3"},
            "environment variable TIMESTEP_OLLAMA",
            "environment variable TIMESTEP_OLLAMA__TIMEOUT__IDLE",
        ),
    ],
)
def test_a_number_and_a_table_for_one_key_are_refused(environment, shorter, longer):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment=environment)

    assert str(caught.value) == (
        f"ollama.timeout: a plain value ({shorter}) and a table ({longer}) for one key; unset one "
        "of them"
    )


@pytest.mark.parametrize("kind", ["pipe", "socket", "directory"])
def test_a_secret_is_read_from_a_regular_file_only(monkeypatch, kind):
    path = Path("secrets/OPENAI_API_KEY")
    path.parent.mkdir()
    monkeypatch.setenv("TIMESTEP_SECRETS_DIR", "secrets")
    with socket.socket(socket.AF_UNIX) as bound:
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "socket":
                bound.bind(str(path))
            case _:
                path.mkdir()

        assert message() == (
            "secrets/OPENAI_API_KEY is not a regular file; put the secret into a "
            "text file of that name"
        )


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        (
            "TIMESTEP_CONFIG",
            "a\0b",
            "a\0b cannot be read \\(.*null.*\\); correct the environment variable TIMESTEP_CONFIG",
        ),
        ("TIMESTEP_CONFIG", "~nobody-at-all/a", "~nobody-at-all/a does not exist; correct the env"),
        (
            "TIMESTEP_SECRETS_DIR",
            "a\0b",
            r"cannot be read \(.*null.*\); correct the environment variable TIMESTEP_SEC",
        ),
        ("TIMESTEP_SECRETS_DIR", "~nobody-at-all", r"cannot be read \(No such file or directory\)"),
        (
            "TIMESTEP_TRACES__PATH",
            "a\0b",
            r"traces\.path \(environment variable TIMESTEP_TRACES__PATH\)",
        ),
        ("TIMESTEP_TRACES__PATH", "~nobody-at-all/a", "cannot be found; write the whole path"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_by_its_name(name, path, words):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment={name: path})

    assert re.search(words, str(caught.value))


def test_an_unknown_key_that_looks_like_a_mark_is_named():
    with pytest.raises(ConfigurationError, match=r'^":x" .*: unknown setting. Known here: aliases'):
        load_settings(environment={"TIMESTEP_:X": "1"})


def test_a_directory_is_no_explicit_file(tmp_path):
    assert "cannot be read (Is a directory)" in message(env_file=tmp_path)
    assert "cannot be read (Is a directory)" in message(config_file=tmp_path)


def test_an_explicit_pyproject_needs_the_table(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text("[project]\n")

    assert message(config_file=path) == f"{path} has no [tool.timestep]; add that table to it"


def test_our_table_must_be_a_table():
    Path("pyproject.toml").write_text("[tool]\ntimestep = 3\n")

    assert message() == "pyproject.toml: [tool.timestep] must be a table of settings"


def test_a_pointer_to_a_missing_variable_names_it(monkeypatch):
    Path("timestep.toml").write_text('[openai]\napi_key = "env:MY_KEY"\n')
    expected = (
        "openai.api_key (timestep.toml:2): the variable MY_KEY, which 'env:MY_KEY' points at, is "
        "not set; set it in the environment or in .env"
    )

    assert message() == expected
    monkeypatch.setenv("MY_KEY", "")
    assert message() == expected


def test_a_pointer_must_lead_to_what_the_key_wants(monkeypatch):
    Path("timestep.toml").write_text('[ollama]\noptions = "env:OPTIONS"\n')
    monkeypatch.setenv("OPTIONS", "many")

    assert message().startswith(
        "ollama.options (timestep.toml:2): a table is written as a JSON object"
    )


@pytest.mark.parametrize(
    "name", ["TIMESTEP_OLLAMA", "TIMESTEP_PROVIDERS", "TIMESTEP_OLLAMA__MODELS"]
)
def test_a_table_in_a_variable_is_json(monkeypatch, name):
    monkeypatch.setenv(name, "{not json")

    text = message()
    assert f"({'environment variable ' + name}): a table is written as a JSON object" in text
    assert f"{name}__NAME" in text


def test_a_key_below_a_plain_value_is_refused(monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL__X", "1")

    assert message().startswith(
        "default_model (environment variable TIMESTEP_DEFAULT_MODEL__X): it is dict; write a model's name"
    )


def test_a_misspelt_control_variable_is_refused(monkeypatch):
    monkeypatch.setenv("TIMESTEP_CONFG", "x.toml")

    assert "Did you mean TIMESTEP_CONFIG?" in message()


def test_a_second_env_file_argument_is_refused():
    with pytest.raises(ConfigurationError, match="_env_file"):
        load_settings(_env_file="x")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OLLAMA_HOST", "gpu\udcff"),
        ("TIMESTEP_TRACES__PATH", "/x/\udcff"),
        ("TIMESTEP_OLLAMA__OPTIONS__STOP", "\udcff"),
        ("TIMESTEP_OLLAMA__OPTIONS", '{"stop": "\\ud800"}'),
        ("TIMESTEP_DEFAULT_MODEL", "ollama/\udc80"),
    ],
)
def test_a_variable_that_is_not_utf8_is_refused(name, text):
    with pytest.raises(ConfigurationError, match=f"{name}.*UTF-8 text") as caught:
        load_settings(environment={name: text})

    str(caught.value).encode()


@pytest.mark.parametrize("digits", [30, 4200, 5000])
@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_TIMEOUT",
        "OLLAMA_KEEP_ALIVE",
        "OLLAMA_OPTIONS__NUM_CTX",
        "OLLAMA_OPTIONS__TEMPERATURE",
        "OLLAMA_REPAIRS",
        "TRACES_RETENTION",
        "FALLBACK_ATTEMPTS",
        "OLLAMA_TIMEOUT__IDLE",
        "OPENAI_MAX_RETRIES",
    ],
)
def test_a_number_of_many_digits_is_a_number_or_an_error_of_ours(name, digits):
    variable = "TIMESTEP_" + name.replace("_", "__", 1)
    told = variable
    try:
        load_settings(environment={variable: "9" * digits}).model_dump_json()
    except ConfigurationError as exc:
        told = str(exc)

    assert variable in told
    assert "999" not in told


def test_lists_are_no_deeper_than_tables():
    Path("timestep.toml").write_text(f"[ollama.options]\nzz = {'[' * 300}{']' * 300}\n")

    assert message().startswith("ollama.options.zz…: tables and lists are nested more than 50 deep")


@pytest.mark.parametrize("name", ["hf_abcdef", "sk-abcdef", "Not_Upper", ""])
def test_what_follows_env_is_not_repeated_when_it_may_be_a_key(name):
    Path("timestep.toml").write_text(f'[openai]\napi_key = "env:{name}"\n')

    told = message()
    assert told == (
        "openai.api_key (timestep.toml:2): the variable that 'env:…' points at is not set; write the "
        "name of one that is"
    )


@pytest.mark.parametrize("value", ["${LOST}", "'${LOST}'", "x-${LOST}", "${LOST} # mine"])
@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "TIMESTEP_PROVIDERS__X__API_KEY", "TIMESTEP_CONFIG"]
)
def test_a_reference_to_a_variable_that_is_not_set_is_refused(name, value):
    Path(".env").write_text(f"A=1\n{name}={value}\n")

    if name == "TIMESTEP_CONFIG" and value.startswith("x"):
        Path("x-").touch()

    assert message() == (
        f"{name} (.env:2): the variable LOST, which ${{LOST}} points at, is not set; set it, or "
        "write ${LOST:-} if it may be missing"
    )


def test_a_lost_reference_that_may_be_a_key_is_not_repeated():
    Path(".env").write_text("OPENAI_API_KEY=${sk-abc}\n")

    assert "sk-abc" not in message()


@pytest.mark.parametrize(
    "text",
    [
        "OPENAI_API_KEY=${LOST:-}\n",
        "OPENAI_API_KEY=${LOST:-sk-other}\n",
        "LOST=sk-1\nOPENAI_API_KEY=${LOST}\n",
        "OPENAI_API_KEY=${LOST}\nTIMESTEP_OPENAI__API_KEY=sk-1\n",
        "OPENAI_API_KEY=${LOST}\nOPENAI_API_KEY=sk-1\n",
        "SOMEBODY_ELSES=${LOST}\n",
    ],
)
def test_a_reference_that_is_not_needed_is_passed_over(text):
    Path(".env").write_text(text)

    load_settings()


def test_a_reference_in_dotenv_gives_way_to_the_environment(monkeypatch):
    Path(".env").write_text("OPENAI_API_KEY=${LOST}\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")

    assert load_settings().openai.api_key.get_secret_value() == "sk-1"


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        (
            "OPENAI_API_KEY",
            "OPENAI_API_KEY=sk-1",
            "begins with the name of a variable; leave out that name and the equals sign",
        ),
        (
            "TIMESTEP_OLLAMA__MODELS__X__SETTINGS",
            "hot",
            'as in TIMESTEP_OLLAMA__MODELS__X__SETTINGS={"temperature": 0.2}',
        ),
        (
            "TIMESTEP_ALIASES__FAST",
            '{"model": "x", "setings": {}}',
            "Did you mean aliases.fast.settings?",
        ),
        ("TIMESTEP_OLLAMA__TOOL_EMULATION", "maybe", "TOOL_EMULATION): must be true or false"),
        ("TIMESTEP_PROVIDERS__X__KIND", "OpenAI", 'Did you mean "openai"?'),
    ],
)
def test_a_fix_for_a_variable_works_in_a_variable(name, value, end):
    assert message(environment={name: value}).endswith(end)


def test_the_models_of_many_aliases_are_found_in_one_pass():
    aliases = {f"a_{number}": "ollama/x" for number in range(5000)}
    settings = load_settings(aliases=aliases)
    work = steps(lambda: list(settings.named_models()))

    assert len(list(settings.named_models())) == 5000
    assert work < 200 * len(aliases)
