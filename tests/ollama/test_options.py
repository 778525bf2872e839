import dataclasses
import json
from pathlib import Path

import pytest
from agents import ModelRetrySettings, ModelSettings
from hypothesis import given
from hypothesis import strategies as st
from openai import Omit
from openai.types.shared import Reasoning

from timestep.answer.defaulted_model import without_implicit
from timestep.errors import UnsupportedInputError
from timestep.net.encoding import encode
from timestep.net.ollama_options import check_options, unknown_options
from timestep.net.setting_values import check_keep_alive
from timestep.ollama.model_options import OllamaModelOptions
from timestep.ollama.request.options import (
    THINK,
    settings_to_fields,
)
from timestep.testing import Recording, checks

WIRE = Path(__file__).parents[1] / "wire"


def fields(settings=None, *, defaults=None, keep_alive=None, truncate=False, **asked):
    model = OllamaModelOptions.of(
        options=defaults,
        keep_alive=keep_alive,
        on_context_overflow="truncate" if truncate else "error",
    )
    return settings_to_fields(settings or ModelSettings(**asked), model)


def server_takes(options):
    """Raise when a real server would refuse *options*."""
    data = encode({"model": "m", "options": options})
    checks.check_options(checks.check_chat(data)["options"])


def body_of(found):
    """What the server is sent, after it has passed the server's own checks."""
    body = {"model": "m", "messages": [], **found.top_level, "options": found.options}
    data = encode(body | found.extra_body)
    checks.check_chat(data)
    server_takes(found.options)
    return json.loads(data)


# Every field of ModelSettings: a value, and what becomes of it. Nothing here means nothing is
# sent and nothing is worth a warning: the field belongs to somebody else, or asks for what
# happens anyway.
SETTINGS = {
    "temperature": (0.5, {"options": {"temperature": 0.5}}),
    "top_p": (0.9, {"options": {"top_p": 0.9}}),
    "frequency_penalty": (0.1, {"options": {"frequency_penalty": 0.1}}),
    "presence_penalty": (0.2, {"options": {"presence_penalty": 0.2}}),
    "max_tokens": (7, {"options": {"num_predict": 7}}),
    "truncation": ("auto", {"top_level": {"truncate": True}}),
    "reasoning": (Reasoning(effort="high"), {"top_level": {"think": "high"}}),
    "top_logprobs": (3, {"top_level": {"logprobs": True, "top_logprobs": 3}}),
    "response_include": (
        ["message.output_text.logprobs", "file_search_call.results"],
        {
            "top_level": {"logprobs": True},
            "ignored": ["response_include 'file_search_call.results'"],
        },
    ),
    "extra_headers": ({"X-A": "1", "X-B": Omit()}, {"headers": {"X-A": "1"}}),
    "extra_body": ({"new": 1}, {"extra_body": {"new": 1}}),
    "extra_args": (
        {"keep_alive": "5m", "min_p": 0.1, "max_completion_tokens": 3, "shift": False, "user": "u"},
        {
            "top_level": {"keep_alive": "5m", "shift": False},
            "options": {"min_p": 0.1, "num_predict": 3},
            "ignored": ["extra_args['user']"],
        },
    ),
    "verbosity": ("high", {"ignored": ["verbosity"]}),
    "store": (True, {"ignored": ["store"]}),
    "prompt_cache_retention": ("24h", {"ignored": ["prompt_cache_retention"]}),
    "prompt_cache_options": ({"mode": "explicit"}, {"ignored": ["prompt_cache_options"]}),
    "context_management": ([{"type": "compaction"}], {"ignored": ["context_management"]}),
    "extra_query": ({"a": 1}, {"ignored": ["extra_query"]}),
    "tool_choice": ("required", {}),  # the request's
    "parallel_tool_calls": (False, {}),  # the request's
    "metadata": ({"a": "b"}, {}),  # the trace's
    "include_usage": (True, {}),  # always included
    "retry": (ModelRetrySettings(max_retries=1), {}),  # the Runner's
    "timeout": (3.0, {}),  # the Runner's
    "preserve_raw_usage": (True, {}),  # the model's
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelSettings)])
def test_every_model_setting_is_sent_or_listed_or_somebody_elses(name):
    value, effect = SETTINGS[name]
    found = fields(**{name: value})

    assert found.top_level == {"truncate": False, **effect.get("top_level", {})}
    assert found.options == effect.get("options", {})
    assert found.headers == effect.get("headers", {})
    assert found.extra_body == effect.get("extra_body", {})
    assert found.ignored == effect.get("ignored", [])
    body_of(found)


def test_unset_settings_send_nothing():
    found = fields()

    assert found.top_level == {"truncate": False}
    assert not [*found.options, *found.headers, *found.extra_body, *found.ignored]


def test_settings_that_ask_for_what_happens_anyway_are_silent():
    assert fields(store=False, include_usage=False).ignored == []


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        (None, "absent"),
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("max", "max"),
        ("ultra", "max"),
    ],
)
def test_reasoning_effort_is_think(effort, think):
    reasoning = Reasoning.model_construct(effort=effort)
    found = fields(ModelSettings(reasoning=reasoning))

    assert found.top_level.get("think", "absent") == think
    assert found.ignored == []
    body_of(found)


def test_every_effort_of_the_sdk_is_known():
    efforts = Reasoning.model_json_schema()["properties"]["effort"]["anyOf"][0]["enum"]

    assert set(efforts) <= THINK.keys()


@pytest.mark.parametrize("effort", ["extreme", 5, ["low"], True])
def test_an_unknown_effort_is_refused(effort):
    settings = ModelSettings(reasoning=Reasoning.model_construct(effort=effort))
    if effort is True:
        assert fields(settings).top_level["think"] is True
        return
    with pytest.raises(UnsupportedInputError, match=r"reasoning\.effort is .*low, medium, high"):
        fields(settings)


def test_what_reasoning_asks_beside_the_effort_is_listed():
    found = fields(reasoning=Reasoning(effort="low", summary="auto"))

    assert found.top_level["think"] == "low"
    assert found.ignored == ["reasoning.summary"]


def test_the_sdks_own_default_for_openai_is_left_out_and_a_choice_is_not():
    implicit = ModelSettings(reasoning=Reasoning(effort="none"), verbosity="low")
    chosen = ModelSettings(reasoning=Reasoning(effort="none"))
    more = ModelSettings(reasoning=Reasoning(effort="none", summary="auto"), verbosity="low")

    assert without_implicit(implicit) == ModelSettings()
    assert without_implicit(chosen) is chosen
    assert without_implicit(more) is more
    assert fields(chosen).top_level["think"] is False


@pytest.mark.parametrize(
    ("truncation", "truncate", "sent"),
    [
        (None, False, False),
        (None, True, True),
        ("auto", False, True),
        ("disabled", True, False),
    ],
)
def test_truncation_wins_over_the_models_own_rule(truncation, truncate, sent):
    found = fields(truncation=truncation, truncate=truncate)

    assert found.top_level["truncate"] is sent


@pytest.mark.parametrize("count", [-1, 21])
def test_top_logprobs_have_the_servers_bounds(count):
    with pytest.raises(UnsupportedInputError, match=f"top_logprobs is {count}"):
        fields(top_logprobs=count)

    assert fields(top_logprobs=0).top_level["logprobs"] is True


def test_options_come_from_the_most_particular():
    found = fields(
        defaults={
            "top_p": 0.1,
            "temperature": 0.1,
            "num_ctx": 1,
            "seed": 1,
            "top_k": 1,
            "min_p": 0.1,
        },
        temperature=0.2,
        extra_args={"num_ctx": 2, "options": {"seed": 2, "top_k": 2, "min_p": None}},
        extra_body={"options": {"top_k": 3}},
    )

    assert found.options == {
        "top_p": 0.1,
        "temperature": 0.2,
        "num_ctx": 2,
        "seed": 2,
        "top_k": 3,
    }


def test_the_sdks_own_extra_args_are_silent():
    assert fields(extra_args={"prompt_cache_key": "k", "context_management": []}).ignored == []


def test_think_and_keep_alive_are_put_right_wherever_they_stand():
    for place in ("extra_args", "extra_body"):
        found = fields(**{place: {"think": "xhigh", "keep_alive": "300"}}, keep_alive="1m")

        assert body_of(found)["think"] == "max"
        assert body_of(found)["keep_alive"] == 300
        for wrong in ({"think": "much"}, {"think": 1}, {"keep_alive": "abc"}, {"options": [1]}):
            with pytest.raises(UnsupportedInputError, match=next(iter(wrong))):
                fields(**{place: wrong})

    for kept in (True, False, None):
        assert fields(extra_args={"think": kept}).top_level["think"] is kept


def test_what_extra_body_cannot_do_is_listed():
    asked = {"stream": False, "model": "x", "messages": [], "tools": [], "num_ctx": 1, "raw": True}
    found = fields(extra_body=asked)

    assert found.extra_body == {"num_ctx": 1, "raw": True}
    assert found.ignored == [
        *(
            f"extra_body[{name!r}] (the request has its own)"
            for name in ("stream", "model", "messages", "tools")
        ),
        "extra_body['num_ctx'] (Ollama reads it under 'options')",
    ]


@pytest.mark.parametrize("body", [5, [1], "text", b"bytes"])
def test_extra_body_is_a_dict(body):
    with pytest.raises(UnsupportedInputError, match=f"extra_body is {type(body).__name__}"):
        fields(ModelSettings(extra_body=body))


@pytest.mark.parametrize(
    "headers", [{"X-A": "a\nb"}, {"X-A": "ü"}, {"X A": "1"}, {"": "1"}, {"X:A": "1"}, {"X": "\0"}]
)
def test_headers_are_what_http_can_carry(headers):
    with pytest.raises(UnsupportedInputError, match="extra_headers"):
        fields(extra_headers=headers)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "CONNECTION", "Upgrade"])
def test_a_request_says_itself_where_it_ends(name):
    with pytest.raises(UnsupportedInputError, match="is set by the connection") as refused:
        fields(extra_headers={name: "3"})

    assert name in str(refused.value)


# The server's answer to a wrong option is HTTP 500; ours comes before.
@pytest.mark.parametrize(
    "name",
    [
        "bad-option-num_ctx-string",
        "bad-option-num_predict-bool",
        "bad-option-seed-string",
        "bad-option-stop-numbers",
        "bad-option-temperature-string",
    ],
)
def test_what_a_real_server_refused_is_refused_before_it_is_sent(name):
    recording = Recording.load(WIRE / f"{name}.json")
    options = recording.request.json["options"]

    assert recording.status == 500
    with pytest.raises(UnsupportedInputError, match=next(iter(options))):
        OllamaModelOptions.of(options=options)
    with pytest.raises(UnsupportedInputError, match=next(iter(options))):
        fields(extra_args={"options": options})


@pytest.mark.parametrize(
    "name",
    [
        "bad-option-name",
        "bad-option-null-value",
        "bad-option-stop-string",
        "bad-option-temperature-int",
        "bad-option-top_k-negative",
        "ctx-num_ctx-0",
        "ctx-num_ctx-negative",
    ],
)
def test_what_a_real_server_took_is_sent_in_a_form_it_takes(name):
    recording = Recording.load(WIRE / f"{name}.json")
    options = recording.request.json["options"]
    sent = check_options(options)

    server_takes(sent)
    assert recording.status == (500 if name == "bad-option-stop-string" else 200)
    assert bool(unknown_options(options)) == (name == "bad-option-name")


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, {}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"stop": ("a",)}, {"stop": ("a",)}),
        ({"num_ctx": None}, {}),
        ({"seed": 42.0}, {"seed": 42.0}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"use_mmap": False}, {"use_mmap": False}),
        ({"num_predict": -1}, {"num_predict": -1}),
        ({"seed": 2**63 - 1}, {"seed": 2**63 - 1}),
    ],
)
def test_options_are_sent(options, sent):
    assert check_options(options) == sent


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"num_ctx": "4096"}, "'num_ctx' must be a whole number"),
        ({"num_ctx": 1.5}, "'num_ctx' must be a whole number"),
        ({"num_ctx": True}, "'num_ctx' must be a whole number"),
        ({"num_ctx": 2**63}, "'num_ctx' must be a whole number"),
        ({"num_ctx": 10**400}, "'num_ctx' must be a whole number"),
        (
            {"num_ctx": float("nan")},
            "'num_ctx' must be a whole number of at most 64 bits, and is NaN",
        ),
        (
            {"num_ctx": float("inf")},
            "'num_ctx' must be a whole number of at most 64 bits, and is infinite",
        ),
        ({"temperature": "hot"}, "'temperature' must be a number"),
        ({"temperature": True}, "'temperature' must be a number"),
        (
            {"temperature": float("nan")},
            "'temperature' must be a number of at most 32 bits, and is NaN",
        ),
        ({"temperature": 10**400}, "'temperature' must be a number"),
        ({"temperature": 1e39}, "'temperature' must be a number"),
        ({"temperature": [1]}, "'temperature' must be a number"),
        ({"use_mmap": 1}, "'use_mmap' must be true or false"),
        ({"stop": 5}, "'stop' must be a string or a list of strings"),
        ({"stop": ["a", 5]}, "'stop' must be a string or a list of strings"),
        ({1: 2}, "options are of type dict"),
        ("num_ctx=1", "options are of type str"),
        ([("num_ctx", 1)], "options are"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, wanted):
    with pytest.raises(UnsupportedInputError) as refused:
        OllamaModelOptions.of(options=options)

    assert wanted in str(refused.value)


def test_an_unknown_option_is_sent_and_listed_with_a_suggestion():
    options = {"num_ctxt": 1, "zzz": 2}

    assert check_options(options) == options
    assert fields(defaults=options).ignored == [
        "options.num_ctxt (no option of Ollama; did you mean 'num_ctx'?)",
        "options.zzz (no option of Ollama)",
    ]


OPTION_NAMES = st.sampled_from(
    ["num_ctx", "seed", "temperature", "top_p", "use_mmap", "stop", "unknown"]
)
ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.just(10**400),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=2), below),
    max_leaves=4,
)


@given(st.dictionaries(OPTION_NAMES, ODD, max_size=3))
def test_no_option_makes_the_server_fail(options):
    try:
        sent = check_options(options)
    except ValueError:
        return
    sent.pop("unknown", None)
    server_takes(sent)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (300, 300),
        (1.5, 1.5),
        (-1, -1),
        (0, 0),
        ("0", 0),
        ("-1", -1),
        ("300", 300),
        ("1.5", 1.5),
        (" 10m ", "10m"),
        ("1h30m", "1h30m"),
        ("-1m", "-1m"),
        ("1.5h", "1.5h"),
        (".5s", ".5s"),
        ("100µs", "100µs"),
        ("500ms", "500ms"),
    ],
    ids=repr,
)
def test_keep_alive_is_seconds_or_a_duration(value, sent):
    assert check_keep_alive(value) == sent
    assert fields(keep_alive=value).top_level["keep_alive"] == sent
    assert body_of(fields(keep_alive=value))["keep_alive"] == sent


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        "",
        "abc",
        "forever",
        "10 m",
        "10M",
        "1h30",
        "m",
        "1d",
        "1_0",
        "٣",
        "9" * 5000,
        "nan",
        "1e5",
        float("nan"),
        float("inf"),
        10**400,
        [300],
        b"10m",
    ],
    ids=lambda value: repr(value)[:20],
)
def test_keep_alive_that_no_server_takes_is_refused(value):
    with pytest.raises(ValueError, match="write a duration"):
        check_keep_alive(value)


@given(st.text() | st.from_regex(r"\A[-+]?[0-9.]{0,3}(ns|us|ms|s|m|h|d)?[0-9.]*[a-z]?\Z") | ODD)
def test_whatever_keep_alive_passes_the_server_takes(value):
    try:
        sent = check_keep_alive(value)
    except ValueError:
        return
    checks.check_chat(encode({"model": "m", "keep_alive": sent}))
