"""Whatever is written wrong, a key in it is in no message, cause, frame, log or pickle."""

import json
import logging
import os
import pickle
import string
import tempfile
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_settings import SettingsError

from timestep import ConfigurationError, MultiModelProvider, Settings, load_settings
from timestep.config.checks import find_doubts

# Names of models, files and keys are not secrets: a message shows them.
NAMES = [
    "OPENAI_API_KEY",
    "openai_api_key",
    "OLLAMA_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_PROJECT_ID",
    "OLLAMA_HOST",
    "TIMESTEP_OPENAI__API_KEY",
    "TIMESTEP_OPENAI",
    "TIMESTEP_OPENAI__TIMEOUT",
    "TIMESTEP_OPENAI__HEADERS",
    "TIMESTEP_OPENAI__HEADERS__AUTHORIZATION",
    "TIMESTEP_OLLAMA__OPTIONS__NUM_CTX",
    "TIMESTEP_OLLAMA__OPTIONS",
    "TIMESTEP_OLLAMA__KEEP_ALIVE",
    "TIMESTEP_OLLAMA__MODELS__M__STOP",
    "TIMESTEP_PROVIDERS__X__API_KEY",
    "TIMESTEP_PROVIDERS__X__KIND",
    "TIMESTEP_PROVIDERS__X",
    "TIMESTEP_TRACES__REDACT",
    "TIMESTEP_OPENAI__API_KYE",
    "TIMESTEP_NONSENSE",
    "OTHER",
]
KEYS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["sk-", "hf_", "gsk_", "", "1.", "ab:", "(?P<", "http://me:"]),
    st.text(string.ascii_letters + string.digits, min_size=14, max_size=20).map("M4rk{}".format),
    st.sampled_from(["", "==", "@h", '"', "'", "\xff", "}", "/v1"]),
)
# § stands for the key.
WRAPS = ["§", "'§'", '"§"', '"§', "'§", "Bearer §", "${§}", "$(§)", "env:§", "file:§", "§ # note", "§\n§", "\t§", '{"api_key": "§"}', '{"kind": "§"', '["§"]', "[§", "OPENAI_API_KEY=§", "\\§", "§\\"]  # fmt: skip
BETWEEN = ["=", " ", ": ", ":", "\t", " := ", "=> ", " = ", "==", "", '"', "-", "\u00a0"]
BEFORE = ["", "export ", "set ", "$env:", "- ", '"', "'", "setenv ", "\n\n  ", "A='\n"]

texts = st.sampled_from(WRAPS)
statements = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(BEFORE),
    st.sampled_from(NAMES),
    st.sampled_from(BETWEEN),
    texts,
)
toml_lines = st.one_of(
    st.sampled_from(
        ["[openai]", "[ollama]", "[ollama.options]", "[providers.x]", "[openai.headers]"]
    ),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(
            ["api_key", "timeout", "num_ctx", "kind", "Authorization", "host", "project"]
        ),
        st.sampled_from([" = ", ": ", " ", "="]),
        texts | texts.map(partial(json.dumps, ensure_ascii=False)),
    ),
)


def chain(error):
    """*error* with its causes and contexts, those that are not shown too."""
    waiting, seen = [error], []
    while waiting:
        each = waiting.pop()
        if each is not None and each not in seen:
            seen.append(each)
            waiting += [each.__cause__, each.__context__]
    return seen


def shown_by(error):
    """All that a tool may show or send of *error*."""
    for each in chain(error):
        yield from (str(each), repr(each), repr(each.args), repr(vars(each)))
        if isinstance(each, ValidationError):
            yield str(each.errors()) + each.json()
        frame = each.__traceback__
        while frame is not None:
            if "/timestep/" in frame.tb_frame.f_code.co_filename:
                yield from map(repr, frame.tb_frame.f_locals.values())
            frame = frame.tb_next
        if isinstance(each, ConfigurationError):
            yield pickle.dumps(each).decode("latin-1")


class Log(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


def everything_shown(environment, overrides):
    def build():
        return MultiModelProvider.from_settings(load_settings(environment=environment, **overrides))

    def doubt():
        return find_doubts(load_settings(environment=environment, **overrides))

    for attempt in (
        build,
        doubt,
        lambda: Settings(_environment=environment, **overrides),
        lambda: MultiModelProvider.from_env(check=True, **overrides),
    ):
        try:
            result = attempt()
            yield repr(result) if isinstance(result, list | MultiModelProvider) else ""
        except (ConfigurationError, ValidationError, SettingsError) as error:
            yield from shown_by(error)


@settings(max_examples=300)
@given(
    key=KEYS,
    env=st.lists(statements, max_size=3),
    variables=st.dictionaries(st.sampled_from(NAMES), texts, max_size=2),
    toml=st.lists(toml_lines, max_size=4),
    overrides=st.sampled_from(
        [
            {},
            {"openai": {"api_key": "§ §"}},
            {"ollama": {"timeout": "§"}},
            {"nonsense": "§"},
        ]
    ),
)
@example("sk-M4rk", ["TIMESTEP_OPENAI__API_KEY §"], {}, [], {})
@example("M4rk", ["TIMESTEP_OPENAI__API_KEY§"], {}, [], {})
@example("sk-M4rk", ["TIMESTEP_OPENAI__API_KEY:§=="], {}, [], {})
@example("sk-M4rk\xff", [], {"OPENAI_API_KEY": "§"}, ["[openai]", 'api_key = "§"'], {})
@example("M4rk", [], {}, ["[openai]", "api_key = 'env:§'"], {})
@example("M4rk", [], {}, ["[ollama.options]", "api_key = '§'"], {})
def test_a_key_in_a_wrong_configuration_is_shown_nowhere(key, env, variables, toml, overrides):
    log = Log()
    before = dict(os.environ)
    logging.getLogger().addHandler(log)
    with tempfile.TemporaryDirectory() as directory, chdir(directory):
        text = "\n".join(env).replace("§", key)
        # A file in Latin-1 is not UTF-8 when the key holds such a character.
        Path(".env").write_bytes(text.encode("latin-1" if "\xff" in key else "utf-8", "replace"))
        Path("timestep.toml").write_text("\n".join(toml).replace("§", key))
        values = {name: value.replace("§", key) for name, value in variables.items()}
        try:
            os.environ.update({name: value for name, value in values.items() if "\0" not in value})
            given_ = json.loads(
                json.dumps(overrides, ensure_ascii=False).replace("§", json.dumps(key)[1:-1])
            )
            shown = list(everything_shown(values, given_))
        finally:
            os.environ.clear()
            os.environ.update(before)
            logging.getLogger().removeHandler(log)

    assert shown
    assert not [text for text in [*shown, *log.lines] if "M4rk" in text]


@pytest.mark.parametrize("where", ["message", "frame", "cause", "pickle"])
def test_the_walk_finds_a_key_where_one_is(where):
    """The property above can fail."""
    error = ConfigurationError("M4rk" if where in {"message", "pickle"} else "x")
    if where == "cause":
        error.__context__ = ValueError("M4rk")
    if where == "frame":
        with pytest.raises(ConfigurationError) as caught:
            Settings.told(_Repr(), (), "x")
        error = caught.value
    assert any("M4rk" in text for text in shown_by(error))


class _Repr:
    def __repr__(self):
        return "M4rk"

    def __getattr__(self, name):
        raise ConfigurationError("x")
