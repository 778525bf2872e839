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
from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel

from tests.openai.scenarios import PARIS, SCENARIOS, Scenario, play, said, weather
from timestep.config.settings import Settings
from timestep.registry import MultiModelProvider
from timestep.testing import FakeOpenAI

PAGE = Path(__file__).parents[2] / "docs" / "openai.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
HOWS = {"whole": False, "streamed": True}


OVER = {"chat_completions": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


def ours(base_url, api, model="m"):
    """A model by settings alone."""
    table = {"kind": "openai", "base_url": base_url, "api": api, "api_key": "k", "max_retries": 0}
    settings = Settings(_env_file=None, providers={"p": table})
    provider = MultiModelProvider.from_settings(settings)
    return provider.get_model(f"p/{model}"), provider.aclose


def theirs(base_url, api, model="m"):
    """A model of the SDK's."""
    client = openai.AsyncOpenAI(base_url=base_url, api_key="k", max_retries=0)
    return OVER[api](model, client), client.close


def came(build, name, how, api):
    with FakeOpenAI(strict=False) as fake:
        return play(SCENARIOS[name], *build(fake.base_url, api), fake, is_streamed=HOWS[how])


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


def found(api):
    rows = defaultdict(set)
    with warnings.catch_warnings():
        # The SDK's client leaves the connections of an event loop that ended open.
        warnings.simplefilter("ignore", ResourceWarning)
        for name in SCENARIOS:
            for how in HOWS:
                # An error that a name keeps keeps its client too, beyond the collection below.
                for difference in differences(
                    came(theirs, name, how, api), came(ours, name, how, api)
                ):
                    rows[difference].add(f"{name}, {how}")
        gc.collect()
    return rows


def listed(api):
    over_chat, over_responses = PAGE.read_text().split("\n## Over the Responses API\n")
    page = over_chat if api == "chat_completions" else over_responses.split("\n## ")[0]
    rows = [match.groups() for match in ROW.finditer(page)][1:]
    return {tuple(row[:3]): (set(scenarios(row[4])), row[3]) for row in rows}


def scenarios(cell):
    """The scenarios of a cell: ``plain`` is whole and streamed, ``whole: plain`` is not."""
    for group in cell.split("<br>"):
        only, _, names = group.rpartition(": ")
        yield from (
            f"{name}, {how}" for name in names.split("; ") for how in ([only] if only else HOWS)
        )


@pytest.mark.parametrize("api", OVER)
def test_every_difference_to_the_sdk_s_model_is_documented_with_its_reason(api):
    documented, shown = listed(api), found(api)
    missing = {
        f"| {' | '.join(row)} | … | {'; '.join(sorted(names))} |"
        for row, names in shown.items()
        if documented.get(row, [set()])[0] != names
    }
    assert not missing, "\n".join(["write into docs/openai.md:", *sorted(missing)])
    assert documented.keys() == shown.keys()
    assert all(len(why) > 10 for _, why in documented.values())


def test_the_scenarios_are_many():
    assert len(SCENARIOS) * len(HOWS) >= 43


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("model", ["m", "deepseek-reasoner"])
def test_thinking_goes_back_as_the_sdk_s_model_sends_it(model, field, how):
    thinking = {"thinking": "Hm", "thinking_field": field}
    scenario = Scenario(
        said({"tool_calls": [PARIS], **thinking}, {"text": "Sunny", **thinking}),
        agent={"tools": [weather]},
    )

    def sent(build):
        with FakeOpenAI(strict=False) as fake:
            build = build(fake.base_url, "chat_completions", model)
            return play(scenario, *build, fake, is_streamed=HOWS[how]).bodies[-1]["messages"]

    assert sent(ours) == sent(theirs)
