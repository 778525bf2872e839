"""Our model for chat completions beside the SDK's, scenario by scenario: equal or better.

Every difference stands in docs/openai.md with its reason.
"""

import gc
import re
import warnings
from collections import defaultdict
from pathlib import Path

import openai
import pytest
from agents import OpenAIChatCompletionsModel

from tests.openai.scenarios import SCENARIOS, play
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.model import ChatCompletionsModel
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.wire import ChatWire
from timestep.testing import FakeOpenAI

PAGE = Path(__file__).parents[2] / "docs" / "openai.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
HOWS = {"whole": False, "streamed": True}


def ours(base_url, model="m"):
    wire = ChatWire(OpenAIEndpoint(base_url=base_url, api_key="k"))
    return ChatCompletionsModel(model, wire, ChatModelOptions(max_retries=0)), wire.aclose


def theirs(base_url, model="m"):
    client = openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)
    return OpenAIChatCompletionsModel(model, client), client.close


def came(build, name, how):
    with FakeOpenAI(strict=False) as fake:
        return play(SCENARIOS[name], *build(fake.base_url), fake, is_streamed=HOWS[how])


def differences(their, our):
    """What differs: the fact, what the SDK's model made of it, and what ours did."""
    if not (their.error and isinstance(our.error, type(their.error))):
        yield from differing({"error": named(their.error)}, {"error": named(our.error)})
    if their.error or our.error:
        kept = "tools that ran"
        yield from differing({kept: their.facts[kept]}, {kept: our.facts[kept]})
    else:
        yield from differing(their.facts, our.facts)
    for one, other in zip(their.bodies, our.bodies, strict=False):
        for field in sorted({*one, *other} - {"stream", "stream_options"}):
            yield from differing(
                {f"{field} sent": str(one.get(field))}, {f"{field} sent": str(other.get(field))}
            )


def differing(their, our):
    for fact in their:
        if their[fact] != our[fact]:
            is_new = fact == "tokens" and their[fact] == "none"
            yield fact, their[fact], "counted" if is_new else our[fact]


def named(error):
    return "none" if error is None else f"`{type(error).__name__}`"


@pytest.fixture(scope="module")
def found():
    rows = defaultdict(set)
    with warnings.catch_warnings():
        # The SDK's client leaves the connections of an event loop that ended open.
        warnings.simplefilter("ignore", ResourceWarning)
        for name in SCENARIOS:
            for how in HOWS:
                for difference in differences(came(theirs, name, how), came(ours, name, how)):
                    rows[difference].add(f"{name}, {how}")
        gc.collect()
    return rows


def listed():
    rows = [match.groups() for match in ROW.finditer(PAGE.read_text())][1:]
    return {tuple(row[1:4]): (set(row[0].split("; ")), row[4]) for row in rows if row[0] != "---"}


def test_every_difference_to_the_sdk_s_model_is_documented_with_its_reason(found):
    documented = listed()
    missing = {
        f"| {'; '.join(sorted(names))} | {' | '.join(row)} | … |"
        for row, names in found.items()
        if documented.get(row, [set()])[0] != names
    }
    assert not missing, "\n".join(["write into docs/openai.md:", *sorted(missing)])
    assert documented.keys() == found.keys()
    assert all(len(why) > 10 for _, why in documented.values())


def test_the_scenarios_are_many():
    assert len(SCENARIOS) * len(HOWS) >= 43
