"""The scenarios on servers that others wrote; `scripts/servers` installs and runs them."""

import dataclasses
import gc
import json
import os
import re
import socket
import subprocess
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from agents import ModelBehaviorError, ModelSettings, function_tool
from pydantic import BaseModel

from tests.openai.scenarios import RUNS, SCENARIOS, Scenario, play
from tests.openai.test_scenarios import HOWS, OVER, differences, listed, ours, theirs
from timestep.testing import Close, FakeOpenAI

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[2]
AIMOCK, LLAMACPP, LITELLM, GATEWAYS = map(
    os.environ.get, ("AIMOCK", "LLAMACPP", "LITELLM", "GATEWAYS")
)

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
def listening(*command, **variables):
    """Run *command*, a server; yield where it says that it listens."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **variables},
    ) as run:
        said = r"(?:listening|running) on (http://127\.0\.0\.1:\d+)"
        found = (re.search(said, line) for line in run.stdout)
        url = next(match[1] for match in found if match) + "/v1"
        # Else the server would wait for someone to read what it says of every request.
        threading.Thread(target=run.stdout.read, daemon=True).start()
        yield url
        run.terminate()


def undocumented(came, api):
    """The differences between both models that no table has; *came* plays a scenario with one."""
    with warnings.catch_warnings():
        # The SDK's client leaves the connections of an event loop that ended open.
        warnings.simplefilter("ignore", ResourceWarning)
        our = came(ours)
        found = set(differences(came(theirs), our))
        del our  # its error keeps the client
        gc.collect()
    return found - set(listed(api))


def elsewhere(base_url, model, scenario, how, api):
    """Plays *scenario* on a server that no test scripts."""
    return lambda build: play(
        scenario, *build(base_url, api, model), Elsewhere(), is_streamed=HOWS[how]
    )


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


# aimock and LiteLLM's proxy say of a response that it is complete, and of its status that it was cut.
CALLED_COMPLETE = {
    ("half a call", "streamed", "responses"): {
        ("error", "none", "`ModelOutputError`"),
        ("tools that ran", "delete_files('*')", "none"),
    }
}
# Aimock also says of a filtered response that it is complete, and of its status that it failed.
CALLED_FAILED = {("error", "none", "`ModelBehaviorError`")}
AT_AIMOCK = CALLED_COMPLETE | {
    ("content filter", "streamed", "responses"): CALLED_FAILED,
    ("content filter at once", "streamed", "responses"): CALLED_FAILED,
}
every_api = pytest.mark.parametrize("api", OVER)


@every_api
@pytest.mark.parametrize(("name", "how"), PLAYED)
def test_aimock_shows_no_other_differences_than_those_that_are_documented(aimock, name, how, api):
    came = elsewhere(aimock, slug(name), SCENARIOS[name], how, api)
    assert undocumented(came, api) == AT_AIMOCK.get((name, how, api), set())


def test_the_scenarios_that_aimock_cannot_play_exist():
    assert CANNOT_SAY.keys() <= SCENARIOS.keys()


class Oslo(BaseModel):
    """An answer that a grammar leaves no choice about."""

    name: Literal["Oslo"]


# Letters only: a stream leaves out the half of a character that the limit cut.
LETTERS = {"grammar": "root ::= [a-z]+"}
SHORT = ModelSettings(max_tokens=16, temperature=0, extra_body=LETTERS)


@function_tool
def visit(city: Literal["Oslo"]) -> str:
    """Visit a city."""
    RUNS.append(("visit", city))
    return f"was in {city}"


# The model begins a call at once, writes nothing between its parts, and ends behind it.
CALLS = {"260": 100, "2": 200, **{str(3 + byte): -100 for byte in b", \n\t"}}
CALLING = ModelSettings(
    max_tokens=200,
    temperature=0,
    tool_choice="required",
    parallel_tool_calls=False,
    extra_body={"logit_bias": CALLS},
)
VISITING = {"tools": [visit], "tool_use_behavior": "stop_on_first_tool"}
ON_LLAMACPP = {
    "cut by length": Scenario(agent={"model_settings": SHORT}),
    "structured output": Scenario(
        agent={"output_type": Oslo, "model_settings": ModelSettings(temperature=0, max_tokens=500)}
    ),
    "tools": Scenario(agent={**VISITING, "model_settings": CALLING}),
    "a long prompt": SCENARIOS["a long prompt"],
    "an image": SCENARIOS["an image"],
    "two event loops": Scenario(agent={"model_settings": SHORT}, loops=2),
}


@pytest.fixture(scope="module")
def llamacpp():
    assert LLAMACPP, "run scripts/servers llamacpp: it installs llama.cpp's server"
    with listening(LLAMACPP, ROOT / "scripts" / "tiny_llama.py") as url:
        yield url


@every_api
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("scenario", ON_LLAMACPP.values(), ids=ON_LLAMACPP)
def test_llamacpp_shows_no_other_differences_than_those_that_are_documented(
    llamacpp, scenario, how, api
):
    assert not undocumented(elsewhere(llamacpp, "tiny", scenario, how, api), api)


@every_api
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("tokens", "ran"), [(200, "visit('Oslo')"), (30, "none")])
def test_llamacpp_calls_a_tool_and_half_a_call_is_not_run(llamacpp, tokens, ran, how, api):
    settings = dataclasses.replace(CALLING, max_tokens=tokens)
    scenario = Scenario(agent={**VISITING, "model_settings": settings})
    came = elsewhere(llamacpp, "tiny", scenario, how, api)(ours)
    assert came.facts["tools that ran"] == ran
    if (
        ran == "none" and api == "chat_completions"
    ):  # over Responses the server says nothing of a cut
        assert isinstance(came.error, ModelBehaviorError)


BEHIND_LITELLM = CALLED_COMPLETE | {
    ("cancel", "whole", "chat_completions"): {("error", "`TimeoutError`", "none")},
}
IDS_OF_LITELLM = ("a call without an id", "whole", "chat_completions")


class Behind(FakeOpenAI):
    """Listens where the proxy looks for its server, and knows one model alone.

    A request of another model may come late: one that its client left half sent.
    """

    def __init__(self, port, model):
        super().__init__(strict=False)
        self._address = ("127.0.0.1", port)
        self._model = model

    @property
    def requests(self):
        return [each for each in super().requests if each.json["model"] == self._model]

    def _queue(self, answer, path=None, *, model=None, times):
        super()._queue(answer, path, model=self._model, times=times)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def litellm(tmp_path_factory):
    assert LITELLM, "run scripts/servers litellm: it installs LiteLLM's proxy"
    behind, port = free_port(), free_port()
    path = tmp_path_factory.mktemp("litellm") / "config.yaml"
    config = {
        "model_list": [
            {
                "model_name": "*",
                "litellm_params": {
                    "model": "openai/*",
                    "api_base": f"http://127.0.0.1:{behind}/v1",
                    "api_key": "k",
                },
            }
        ],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    path.write_text(json.dumps(config))  # which is YAML too
    variables = {
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    command = (LITELLM, "--config", path, "--host", "127.0.0.1", "--port", str(port))
    with listening(*command, "--telemetry", "False", **variables) as url:
        yield url, behind


@every_api
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_litellm_shows_no_other_differences_than_those_that_are_documented(litellm, name, how, api):
    url, port = litellm

    def came(build):
        model = build.__name__
        with Behind(port, model) as fake:
            return play(SCENARIOS[name], *build(url, api, model), fake, is_streamed=HOWS[how])

    found = {row for row in undocumented(came, api) if row[0] != "model sent"}
    if (name, how, api) == IDS_OF_LITELLM:
        assert {row[0] for row in found} == {"messages sent"}
    else:
        assert found == BEHIND_LITELLM.get((name, how, api), set())


NO_END = ("empty, no end", "cut, no end")
CUT = ("empty, length", "cut, length", "whole, length", "empty, content_filter")
ENDED = {"empty": "paid [100]", "whole": "paid [5]", "cut": "paid []"}
ENDED |= dict.fromkeys(CUT, "ModelOutputError")
GAVE_UP = {"empty, error": "OpenAIServerBusyError"}
BROKEN = {**GAVE_UP, **dict.fromkeys(NO_END, "BrokenAnswerError")}
LITELLMS = dict.fromkeys(("empty, error", *NO_END), "MidStreamFallbackError")
# LiteLLM gives a whole answer the end that the server left out.
UNSEEN = {**GAVE_UP, "empty, no end": "paid [100]", "cut, no end": "paid []"}


@pytest.mark.parametrize(
    ("how", "litellms"),
    [("whole", UNSEEN), ("streamed", LITELLMS)],
    ids=["whole", "streamed"],  # scripts/servers chooses by name
)
def test_gateways_run_no_call_that_they_say_is_half(how, litellms):
    assert GATEWAYS, "run scripts/servers gateways: it installs LiteLLM and any-llm"
    for kind, model, end in (
        ("litellm", "openai/m", litellms),
        ("any-llm", "llamafile/m", BROKEN),
    ):
        command = [GATEWAYS, "-m", "tests.openai.half_calls", kind, model, how]
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        assert json.loads(run.stdout) == {**ENDED, **end}
