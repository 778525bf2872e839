"""The settings and the constructors have one rule for each value: what one refuses, both refuse."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from timestep import FallbackRules, MultiModelProvider, OllamaModel, OllamaModelProvider
from timestep.config.settings import Settings
from timestep.errors import TimestepError
from timestep.openai.endpoint import OpenAIEndpoint

KEY = "secret-key"
KEYWORDS = {"host": "local_url", "models": "model_options"}
"""Settings that a constructor calls by another name."""


class Client:
    async def chat(self, **_):
        raise AssertionError("nothing is asked here")


def settings(**values):
    return Settings(_env_file=None, _environment={}, **values)


def takes(door, *refusals):
    """What *door* gives; None when it refuses."""
    try:
        return door()
    except refusals:
        return None


def by_settings(**values):
    return takes(lambda: settings(**values), ValidationError)


def by_code(door):
    return takes(door, TimestepError, ValueError)


MODEL = [
    *(
        ("keep_alive", value, True)
        for value in (
            *("10m", "+5m", ".5h", "5μs", "5µs", "-1", "-1m", "1h30m", "300", "1.5", " 10m ", "0"),
            *(0, -1, 300, 1.5, "2562047h", "9223372036s"),
        )
    ),
    *(
        ("keep_alive", value, False)
        for value in (
            *("", "m", "5", "10 m", "10M", "1d", "ten", "nan", "inf", "1e5", "٣m", "2562048h"),
            *(math.inf, -math.inf, math.nan, 10**400, True, b"10m", [300], {}),
        )
        if value != "5"
    ),
    *(("timeout", value, True) for value in (1, 0.5, {"connect": 1}, {}, {"idle": 2.5})),
    *(
        ("timeout", value, False)
        for value in (
            *(0, -1, True, math.inf, math.nan, "fast", [1], b"1", 10**400),
            *({"connect": 0}, {"idle": math.inf}, {"idle": True}, {"read": 1}, {"connect": [1]}),
        )
    ),
    *(
        ("options", value, True)
        for value in (
            *({}, {"num_ctx": 8192}, {"stop": "a"}, {"stop": ["a"]}, {"zzz": "x"}, {"seed": 42.0}),
            *({"temperature": 1}, {"use_mmap": False}, {"num_ctx": None}),
        )
    ),
    *(
        ("options", value, False)
        for value in (
            *({"num_ctx": "8k"}, {"num_ctx": 1.5}, {"num_ctx": True}, {"num_ctx": 2**63}),
            *({"temperature": math.nan}, {"top_p": "1"}, {"use_mmap": 1}, {"stop": [1]}),
            *("num_ctx=1", [("num_ctx", 1)], 5),
        )
    ),
    *(("on_context_overflow", value, True) for value in ("error", "truncate")),
    *(("on_context_overflow", value, False) for value in ("cut", "", [], 1, True, "Error")),
    *(
        (name, value, is_taken)
        for name in ("strict_feature_validation", "tool_emulation", "allow_remote_images")
        for value, is_taken in ((True, True), (False, True), ("maybe", False), ([], False))
    ),
]
MODEL += [
    *(("repairs", value, True) for value in (0, 1, 10)),
    *(("repairs", value, False) for value in (-1, 11, True, 1.5, "many", [1])),
    *(
        (name, value, is_taken)
        for name in ("text_calls", "think_tags")
        for value, is_taken in (
            *((True, True), (False, True), (["m"], True), (("m", " n "), True), ([], True)),
            *(([""], False), ([5], False), ([b"m"], False), ({}, False), (5, False)),
        )
    ),
]
PROVIDER = [
    *(("max_concurrency", value, True) for value in (1, 4, None)),
    *(("max_concurrency", value, False) for value in (0, -1, True, 1.5, "many", [1])),
    ("models", {"m": {"num_ctx": 1}}, True),
    ("models", {}, True),
    ("models", {"m": {"num_ctx": "1"}}, False),
    ("models", {"m": 1}, False),
    ("models", "m", False),
    *(
        ("base_url", value, True)
        for value in (
            *("http://gpu:1", "https://gpu/", " http://gpu ", "http://a:1,http://b:2"),
            *(["http://a:1", "http://b:2"], ("http://a:1",), ["http://a:1", "http://a:1/"]),
            "https://ollama.com",
        )
    ),
    *(
        ("base_url", value, False)
        for value in (
            *("", "gpu:11434", "ftp://gpu", "http://", "http://gpu:0", "http://u:p@gpu", 5, [], {}),
            *("http://gpu?a=1", "http://gpu#a", "http://g pu", ["http://a", 5], b"http://gpu"),
            *([""], " , ", '["http://a", "http://b"', ["https://ollama.com", "http://a:1"]),
        )
    ),
    *(("host", value, True) for value in ("gpu", "gpu:1", ":1", "http://gpu", "0.0.0.0", "::1")),
    *(("host", value, False) for value in ("gpu:0", "http://u:p@gpu", 5, b"gpu", [])),
    *(("api_key", value, True) for value in (KEY, f" {KEY}\n", "")),
    *(
        ("api_key", value, False)
        for value in ("a b", "a\nb", "schlüssel", "\x00", 5, b"key", [KEY])
    ),
    *(
        ("headers", value, True)
        for value in ({}, {"X-A": "1"}, {"x-a": ""}, {"Authorization": KEY})
    ),
    *(
        ("headers", value, False)
        for value in (
            *({"X A": "1"}, {"": "1"}, {"X-A": "1\n2"}, {"X-A": "ü"}, {"X-A": 1}, {"X-A": b"1"}),
            *({"Content-Length": "3"}, {"CONNECTION": "close"}, "X-A", [("X-A", "1")]),
        )
    ),
]


@pytest.mark.parametrize(("name", "value", "is_taken"), [*MODEL, *PROVIDER], ids=repr)
def test_ollama_settings_and_its_provider_agree(name, value, is_taken):
    named = {KEYWORDS.get(name, name): value}

    assert (by_settings(ollama={name: value}) is not None) is is_taken
    assert (by_settings(providers={"gpu": {"kind": "ollama", name: value}}) is not None) is is_taken
    assert (by_code(lambda: OllamaModelProvider(**named)) is not None) is is_taken


@pytest.mark.parametrize(("name", "value", "is_taken"), MODEL, ids=repr)
def test_the_model_agrees_with_its_provider_and_keeps_what_the_settings_keep(name, value, is_taken):
    model = by_code(lambda: OllamaModel("m", Client(), **{name: value}))
    found = by_settings(ollama={name: value})

    assert (model is not None) is is_taken
    if found is not None and name != "timeout":
        assert getattr(model._options, name) == getattr(found.ollama, name)


CLEAR, SECURE, HERE = "http://gpu:1", "https://gpu", "http://localhost:1"


@pytest.mark.parametrize(
    ("table", "is_taken"),
    [
        *(
            ({**secret, **place, **allowed}, bool(allowed) or url != CLEAR)
            for secret in ({"api_key": KEY}, {"headers": {"AUTHORIZATION": KEY}})
            for url in (CLEAR, SECURE, HERE)
            for place in ({"base_url": url}, {"base_url": [HERE, url]})
            for allowed in ({}, {"allow_insecure": True})
        ),
        ({"headers": {"Authorization": KEY}, "host": "gpu"}, False),
        ({"headers": {"Authorization": KEY}, "host": "localhost"}, True),
        ({"headers": {"Authorization": KEY}, "host": "gpu", "allow_insecure": True}, True),
        ({"headers": {"X-A": "1"}, "host": "gpu"}, True),
        ({"api_key": KEY, "host": "gpu"}, True),  # the key is for ollama.com
        ({"headers": {"Authorization": KEY}}, True),
    ],
    ids=repr,
)
def test_a_key_goes_in_the_clear_through_no_door(table, is_taken):
    named = {KEYWORDS.get(name, name): value for name, value in table.items()}

    assert (by_settings(ollama=table) is not None) is is_taken
    assert (by_settings(providers={"gpu": {"kind": "ollama", **table}}) is not None) is is_taken
    assert (by_code(lambda: OllamaModelProvider(**named)) is not None) is is_taken


@pytest.mark.parametrize(
    ("table", "is_taken"),
    [
        ({}, True),
        ({"timeout": 7.5}, True),
        *(({"timeout": value}, False) for value in (0, -1, True, math.inf, math.nan, "soon")),
        ({"api_key": KEY}, True),
        ({"api_key": "a b"}, False),
        ({"api_key": "a\nb"}, False),
        ({"headers": {"X-A": "1"}}, True),
        ({"headers": {"X A": "1"}}, False),
        ({"headers": {"Transfer-Encoding": "chunked"}}, False),
        *(({"base_url": url}, False) for url in ("gpu/v1", "ftp://gpu", "http://u:p@gpu", 5, b"x")),
        *(
            ({name: value}, is_taken)
            for name in ("organization", "project")
            for value, is_taken in (
                *(("org-1", True), (" org-1 ", True), ("a b", True), ("", False), (" ", False)),
                *(("a\nb", False), ("ü", False), ("a\0b", False), ("env:X", False)),
                *((5, False), (True, False), (["o"], False)),
            )
        ),
        *(({"max_retries": value}, True) for value in (0, 100)),
        *(({"max_retries": value}, False) for value in (-1, 101, 1.5, True, "many", [1])),
        ({"query": {"api-version": "1"}}, True),
        *(({"query": value}, False) for value in ({"a": 1}, {"a": None}, "a=1", [])),
        ({"base_url": CLEAR}, True),
        ({"base_url": CLEAR, "api_key": KEY}, False),
        ({"base_url": CLEAR, "headers": {"authorization": KEY}}, False),
        ({"base_url": CLEAR, "api_key": KEY, "allow_insecure": True}, True),
        ({"base_url": HERE, "api_key": KEY}, True),
    ],
    ids=repr,
)
def test_openai_settings_and_its_endpoint_agree(table, is_taken):
    table = {"base_url": SECURE, **table}

    assert (by_settings(providers={"x": {"kind": "openai", **table}}) is not None) is is_taken
    assert (by_settings(openai=table) is not None) is is_taken
    assert (by_code(lambda: OpenAIEndpoint(**table)) is not None) is is_taken


@pytest.mark.parametrize(
    ("target", "is_taken"),
    [
        *((value, True) for value in ("m", " m ", "a, b", ["m"], ("a", "b"), ["a", " b "])),
        *((value, False) for value in ("", " ", " , ", [], [""], ["m", " "], 5, b"m", [b"m"], {})),
        ('["a", "b"', False),
    ],
    ids=repr,
)
def test_names_of_models_are_read_alike(target, is_taken):
    for found, provider in (
        (
            by_settings(default_model=target),
            by_code(lambda: MultiModelProvider(default_model=target)),
        ),
        (
            by_settings(aliases={"fast": target}),
            by_code(lambda: MultiModelProvider(aliases={"fast": target})),
        ),
    ):
        assert (found is not None) is is_taken
        assert (provider is not None) is is_taken


@pytest.mark.parametrize(
    ("alias", "is_taken"),
    [("fast", True), ("ollama/x", True), ("a b", True), ("", False), (" a", False), ("a\n", False)],
)
def test_aliases_are_named_alike(alias, is_taken):
    assert (by_settings(aliases={alias: "m"}) is not None) is is_taken
    assert (by_code(lambda: MultiModelProvider(aliases={alias: "m"})) is not None) is is_taken


@pytest.mark.parametrize(
    ("prefix", "is_taken"),
    [("groq", True), ("my-gpu.2", True), ("", False), (" ", False), ("a b", False), ("a/b", False)],
)
def test_prefixes_are_named_alike(prefix, is_taken):
    provider_map = MultiModelProvider().provider_map
    provider = OllamaModelProvider()

    assert (by_settings(providers={prefix: {"kind": "ollama"}}) is not None) is is_taken
    added = by_code(lambda: provider_map.add_provider(prefix, provider) or "added")
    assert (added is not None) is is_taken


@pytest.mark.parametrize(
    ("rules", "is_taken"),
    [
        *((rules, True) for rules in ({}, {"on": ["busy"]}, {"attempts": 2}, {"cool_down": 0})),
        *(({"on": value}, False) for value in (["sunspots"], [1], 5, [[]])),
        *(({"attempts": value}, False) for value in (0, -1, 1.5, True, "two")),
        *(({"cool_down": value}, False) for value in (-1, 1e10, math.inf, math.nan, True, "soon")),
        ({"onn": ["busy"]}, False),
    ],
    ids=repr,
)
def test_the_rules_of_a_chain_are_one_type(rules, is_taken):
    found, built = by_settings(fallback=rules), by_code(lambda: FallbackRules(**rules))

    assert (found is not None, built is not None) == (is_taken, is_taken)
    assert found is None or found.fallback == built


def test_a_number_in_a_variable_is_text_and_is_read_as_a_number():
    environment = {
        "TIMESTEP_OLLAMA__TIMEOUT__IDLE": "2.5",
        "TIMESTEP_OPENAI__TIMEOUT": " 3 ",
        "TIMESTEP_FALLBACK__ATTEMPTS": "2",
        "TIMESTEP_FALLBACK__COOL_DOWN": "1e3",
    }
    found = Settings(_env_file=None, _environment=environment)

    assert (found.ollama.timeout.idle, found.openai.timeout) == (2.5, 3)
    assert found.fallback == FallbackRules(attempts=2, cool_down=1000)


TEXTS = st.text(max_size=12) | st.text("0123456789.+-hmnsuµμ ", max_size=8)
URLS = st.text("htps:/.gu0[]@?#,% ", max_size=20) | st.just("http://gpu")


@given(TEXTS)
@example("+5m")
@example("9" * 400 + "h")
def test_both_doors_agree_on_any_duration(text):
    named = {"keep_alive": text}
    found, provider = by_settings(ollama=named), by_code(lambda: OllamaModelProvider(**named))

    assert (found is None) == (provider is None)


@given(URLS | TEXTS, st.sampled_from(["base_url", "host"]))
def test_both_doors_agree_on_any_address(text, name):
    found = by_settings(ollama={name: text})
    provider = by_code(lambda: OllamaModelProvider(**{KEYWORDS.get(name, name): text}))

    assert (found is None) == (provider is None)


@given(st.text(max_size=8), st.text(max_size=8))
def test_both_doors_agree_on_any_key_and_header(name, value):
    for table in ({"headers": {name: value}}, {"api_key": value}):
        found, provider = (
            by_settings(ollama=table),
            by_code(lambda t=table: OllamaModelProvider(**t)),
        )
        assert (found is None) == (provider is None)
