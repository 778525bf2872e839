"""The settings of a model have one rule, wherever they are written."""

import json
import re

import click
import pytest

from timestep.answer.default_settings import read_settings
from timestep.answer.model_settings import WrongSettingError, read_model_settings
from timestep.batch.bodies import read_chat
from timestep.batch.question import BadLineError
from timestep.cli.agent.setup import parse_settings
from timestep.errors import ConfigurationError

NOT_FINITE = "holds nan or inf, which a request cannot carry; write a finite number"
WRONG = {
    "a number that JSON does not have": ("temperature", "NaN", NOT_FINITE),
    "an endless number": ("top_p", "1e999", NOT_FINITE),
    "a text that becomes such a number": ("top_p", '"-inf"', NOT_FINITE),
    "a number of a wrong type": ("max_tokens", "[]", "Input should be a valid integer"),
    "a word that is not a number": ("temperature", '"warm"', "Input should be a valid number"),
}


def in_a_body(name, value):
    body = {"messages": [{"role": "user", "content": "Hi"}], name: json.loads(value)}
    return read_chat(body).settings


DOORS = {
    "in the settings": (
        lambda name, value: read_settings("body", {name: json.loads(value)}),
        ConfigurationError,
        "body.",
    ),
    "in a line of a batch": (in_a_body, BadLineError, "body."),
    "with --set": (
        lambda name, value: parse_settings([name + "=" + value.strip('"')]),
        click.UsageError,
        "--set ",
    ),
}


@pytest.mark.parametrize(("name", "value", "said"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("read", "error", "where"), DOORS.values(), ids=DOORS)
def test_a_value_is_refused_at_every_door(read, error, where, name, value, said):
    with pytest.raises(error, match=rf"^{re.escape(where)}{name}: {re.escape(said)}"):
        read(name, value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temperatur", "did you mean temperature?"),
        ("num_ctx", "it is an Ollama option: write extra_args.num_ctx"),
        ("xyzzy", "the settings are temperature, "),
    ],
)
@pytest.mark.parametrize("door", ["in the settings", "with --set"])
def test_an_unknown_name_gets_the_same_hint_at_every_door(door, name, hint):
    read, error, where = DOORS[door]
    with pytest.raises(error, match=re.escape(f"{where}{name}: unknown setting; {hint}")):
        read(name, "1")


def test_a_field_that_only_the_server_knows_is_named_too():
    with pytest.raises(BadLineError, match=re.escape(f"body.penalties[1]: {NOT_FINITE}")):
        in_a_body("penalties", "[1, Infinity]")


def test_a_number_that_is_not_finite_is_refused_in_fields_that_the_sdk_does_not_know():
    with pytest.raises(WrongSettingError, match="finite") as caught:
        read_model_settings({"reasoning": {"effort": "low", "budget": float("nan")}})

    assert caught.value.path == "reasoning.budget"
