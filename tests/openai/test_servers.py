"""The scenarios on servers that others wrote; `scripts/servers` installs and runs them."""

import gc
import json
import os
import re
import shutil
import subprocess
import warnings

import pytest

from tests.openai.scenarios import SCENARIOS, play
from tests.openai.test_scenarios import HOWS, differences, listed, ours, theirs
from timestep.testing import Close

pytestmark = pytest.mark.servers

AIMOCK = os.environ.get("AIMOCK") or shutil.which("llmock")

CANNOT_SAY = {
    "a call without an id": "aimock gives every call an id",
    "a refusal": "aimock has no refusals",
    "a stream without an end": "aimock ends a stream or cuts it",
    "an error in the stream": "aimock sends no error behind a chunk",
    "cancel": "aimock tells nobody that a client left",
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


@pytest.fixture(scope="module")
def aimock(tmp_path_factory):
    assert AIMOCK, "run scripts/servers: it installs aimock"
    path = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    path.write_text(json.dumps(fixtures()))
    command = [AIMOCK, "-p", "0", "-f", path, "--strict", "--log-level", "info"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        url = next(
            found[0]
            for line in run.stdout
            if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
        )
        yield f"{url}/v1"
        run.terminate()


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
    def came(build):
        model, close = build(aimock, slug(name))
        return play(SCENARIOS[name], model, close, Elsewhere(), is_streamed=HOWS[how])

    with warnings.catch_warnings():
        # The SDK's client leaves the connections of an event loop that ended open.
        warnings.simplefilter("ignore", ResourceWarning)
        found = set(differences(came(theirs), came(ours)))
        gc.collect()

    assert found <= set(listed())


def test_the_scenarios_that_cannot_be_played_exist():
    assert CANNOT_SAY.keys() <= SCENARIOS.keys()
