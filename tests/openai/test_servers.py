"""The scenarios on servers that others wrote; `scripts/servers` installs and runs them."""

import gc
import json
import os
import re
import subprocess
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from agents import ModelSettings
from pydantic import BaseModel

from tests.openai.scenarios import SCENARIOS, Scenario, play
from tests.openai.test_scenarios import HOWS, differences, listed, ours, theirs
from timestep.testing import Close

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]
AIMOCK, LLAMACPP = os.environ.get("AIMOCK"), os.environ.get("LLAMACPP")

CANNOT_SAY = {
    "a call without an id": "aimock gives every call an id",
    "a refusal": "aimock has no refusals",
    "a stream without an end": "aimock ends a stream or cuts it",
    "an error in the stream": "aimock sends no error behind a chunk",
    "cancel": "aimock does not tell that a client left",
    "reasoning in another field": "aimock writes reasoning_content",
    "two parallel calls": "aimock's fixtures do not cut arguments in three",
    "web search": "nothing is sent",
}


class Fixtures:
    """Takes the place of a scripted server, and keeps what is scripted as aimock's fixtures."""

    def __init__(self):
        self.requests = self.chats = ()
        self.found = []

    def reply(self, text, *, tool_calls=(), thinking="", finish_reason=None, fault=None):
        response = {"content": text} if text or not tool_calls else {}
        if thinking:
            response["reasoning"] = thinking
        if tool_calls:
            response["toolCalls"] = [_call(number, call) for number, call in enumerate(tool_calls)]
        if finish_reason:
            response["finishReason"] = finish_reason
        cut = {"truncateAfterChunks": 1 + fault.after} if isinstance(fault, Close) else {}
        self.found.append({"response": response, **cut})

    def fail(self, status, words, *, code=None, headers=None):
        error = {"message": words, "type": "error", **({"code": code} if code else {})}
        self.found.append({"response": {"error": error, "status": status}})


class Elsewhere(Fixtures):
    """A server that nothing can be scripted for any more."""

    def reply(self, *args, **fields):
        pass

    fail = reply


def _call(number, call):
    if isinstance(call, dict):
        return {"id": call["id"], **call["function"]}
    name, arguments = call
    return {"id": f"call_{number}", "name": name, "arguments": json.dumps(arguments)}


def slug(name):
    return re.sub(r"\W+", "-", name)


def fixtures():
    """Aimock's fixtures for all scenarios: the model's name tells which one is asked for."""
    found = []
    for name, scenario in SCENARIOS.items():
        if name not in CANNOT_SAY:
            script = Fixtures()
            scenario.queue(script)
            turns = script.found[: 1 if scenario.loops > 1 else None]
            found += [
                {"match": {"model": slug(name), "turnIndex": turn}, **fixture}
                for turn, fixture in enumerate(turns)
            ]
    return {"fixtures": found}


@contextmanager
def listening(*command):
    """Run *command*, a server; yield where it says that it listens."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        found = (re.search(r"listening on (http://127\.0\.0\.1:\d+)", line) for line in run.stdout)
        yield next(match[1] for match in found if match) + "/v1"
        run.terminate()


def undocumented(base_url, model, scenario, how):
    """The differences between both models on a server that no test scripts."""

    def came(build):
        return play(scenario, *build(base_url, model), Elsewhere(), is_streamed=HOWS[how])

    with warnings.catch_warnings():
        # The SDK's client leaves the connections of an event loop that ended open.
        warnings.simplefilter("ignore", ResourceWarning)
        found = set(differences(came(theirs), came(ours)))
        gc.collect()
    return found - set(listed())


@pytest.fixture(scope="module")
def aimock(tmp_path_factory):
    assert AIMOCK, "run scripts/servers aimock: it installs aimock"
    path = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    path.write_text(json.dumps(fixtures()))
    with listening(AIMOCK, "-p", "0", "-f", path, "--strict", "--log-level", "info") as url:
        yield url


# Aimock cuts streams only, and the SDK's model does not ask for one when the answer is wanted whole.
UNEQUAL = ("a stream that is cut", "whole")
PLAYED = [
    (name, how)
    for name in SCENARIOS
    for how in HOWS
    if name not in CANNOT_SAY and (name, how) != UNEQUAL
]


@pytest.mark.parametrize(("name", "how"), PLAYED)
def test_aimock_shows_no_other_differences_than_those_that_are_documented(aimock, name, how):
    assert not undocumented(aimock, slug(name), SCENARIOS[name], how)


def test_the_scenarios_that_aimock_cannot_play_exist():
    assert CANNOT_SAY.keys() <= SCENARIOS.keys()


class Oslo(BaseModel):
    """An answer that a grammar leaves no choice about."""

    name: Literal["Oslo"]


# Letters only: a stream leaves out the half of a character that the limit cut.
LETTERS = {"grammar": "root ::= [a-z]+"}
SHORT = ModelSettings(max_tokens=16, temperature=0, extra_body=LETTERS)
ON_LLAMACPP = {
    "cut by length": Scenario(agent={"model_settings": SHORT}),
    "structured output": Scenario(
        agent={"output_type": Oslo, "model_settings": ModelSettings(temperature=0, max_tokens=500)}
    ),
    "a long prompt": SCENARIOS["a long prompt"],
    "an image": SCENARIOS["an image"],
    "two event loops": Scenario(agent={"model_settings": SHORT}, loops=2),
}


@pytest.fixture(scope="module")
def llamacpp():
    assert LLAMACPP, "run scripts/servers llamacpp: it installs llama.cpp's server"
    with listening(LLAMACPP, ROOT / "scripts" / "tiny_llama.py") as url:
        yield url


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("scenario", ON_LLAMACPP.values(), ids=ON_LLAMACPP)
def test_llamacpp_shows_no_other_differences_than_those_that_are_documented(
    llamacpp, scenario, how
):
    assert not undocumented(llamacpp, "tiny", scenario, how)
