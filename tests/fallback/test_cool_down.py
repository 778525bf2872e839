"""Models that failed are skipped for a while."""

import pytest
from agents import (
    Agent,
)

from tests.fallback.chains import agent, chained, ollama, requests_of, retrying, weather
from timestep import (
    AllModelsFailedError,
    FallbackRules,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaStatusError,
)


async def test_a_model_that_failed_is_passed_over_until_it_has_cooled_down(
    fake_ollama, second, provider, clock, run
):
    fake_ollama.fail(503, "busy")
    second.reply("from b", times=3)
    for _ in range(3):
        assert (await run(agent(provider))).final_output == "from b"
    assert requests_of(fake_ollama) == 1

    clock.now += 30
    fake_ollama.reply("from a")

    assert (await run(agent(provider))).final_output == "from a"


async def test_a_cool_down_is_known_to_every_chain_of_the_provider(
    fake_ollama, second, third, clock, run
):
    provider_map = MultiModelProviderMap()
    provider_map.set_mapping({"a": ollama(fake_ollama), "b": ollama(second), "c": ollama(third)})
    provider = MultiModelProvider(
        provider_map=provider_map,
        aliases={"one": ["a/m", "b/m"], "two": ["a/m", "c/m"]},
        clock=clock,
    )
    fake_ollama.fail(503, "busy")
    second.reply("from b")
    third.reply("from c")

    assert (await run(Agent("x", model=provider.get_model("one")))).final_output == "from b"
    assert (await run(Agent("x", model=provider.get_model("two")))).final_output == "from c"
    assert requests_of(fake_ollama) == 1


async def test_when_all_are_cooling_down_all_are_asked_again(
    fake_ollama, second, provider, clock, run
):
    fake_ollama.fail(503, "busy")
    second.fail(503, "busy")
    with pytest.raises(AllModelsFailedError):
        await run(agent(provider))
    fake_ollama.reply("from a")

    assert (await run(agent(provider))).final_output == "from a"


@pytest.mark.parametrize("backup", ["no tools", "busy"])
async def test_a_model_that_cools_down_is_asked_when_no_other_could_answer(
    fake_ollama, second, provider, run, backup
):
    fake_ollama.fail(503, "busy")
    second.reply("from b")
    await run(agent(provider))
    fake_ollama.reply("well again")
    if backup == "no tools":
        second.add_model("m", capabilities=["completion"])
    else:
        second.fail(503, "busy")

    result = await run(agent(provider, tools=[weather]))

    assert result.final_output == "well again"
    failed = {"b/m": "tools" if backup == "no tools" else "busy"}
    provenance = result.raw_responses[0].output[0].provider_data["fallback"]
    assert provenance == {"model": "a/m", "failed": failed}


@pytest.mark.parametrize("is_well", [True, False])
async def test_those_that_cool_down_are_asked_last_in_order_and_once(
    fake_ollama, second, third, clock, run, is_well
):
    provider = chained(clock, a=ollama(fake_ollama), b=ollama(second), c=ollama(third))
    fake_ollama.fail(503, "busy")
    second.fail(503, "busy")
    third.reply("from c")
    await run(agent(provider))
    third.fail(503, "busy")

    if is_well:
        fake_ollama.reply("well again")
        assert (await run(agent(provider))).final_output == "well again"
    else:
        fake_ollama.fail(503, "busy")
        second.fail(503, "busy")
        with pytest.raises(AllModelsFailedError) as caught:
            await run(agent(provider))
        assert [f.reason for f in caught.value.failures] == ["busy"] * 3

    asked = [requests_of(fake) for fake in (fake_ollama, second, third)]
    assert asked == [2, 1 if is_well else 2, 2]


@pytest.mark.parametrize("status", [400, 401])
async def test_an_error_of_the_caller_ends_the_chain_before_those_that_cool_down(
    fake_ollama, second, provider, run, status
):
    fake_ollama.fail(503, "busy")
    second.fail(status, "no", times=2)
    for _ in range(2):
        with pytest.raises(OllamaStatusError, match=f"answered {status}"):
            await run(agent(provider))

    assert requests_of(fake_ollama) == 1


async def test_a_chain_whose_backup_cannot_is_retried_like_its_first_model(
    fake_ollama, second, provider, run
):
    second.add_model("m", capabilities=["completion"])
    fake_ollama.fail(503, "busy")
    fake_ollama.reply("well again", times=2)
    spoiled = agent(provider, tools=[weather], model_settings=retrying(2))

    assert (await run(spoiled)).final_output == "well again"
    assert (await run(spoiled)).final_output == "well again"
    assert (requests_of(fake_ollama), requests_of(second)) == (3, 0)


async def test_attempts_bound_those_that_cool_down_too(fake_ollama, second, clock, run):
    rules = FallbackRules(attempts=1)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))
    fake_ollama.fail(503, "busy")
    with pytest.raises(AllModelsFailedError):
        await run(agent(provider))
    second.fail(404, "model 'm' not found")

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider))

    assert [f.reason for f in caught.value.failures] == ["cooling_down", "not_found"]
    assert requests_of(fake_ollama) == 1


async def test_a_retry_reaches_a_model_that_cooled_down_and_was_not_asked(
    fake_ollama, second, clock, run
):
    rules = FallbackRules(attempts=1)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))
    fake_ollama.fail(503, "busy")
    second.fail(404, "model 'm' not found")
    fake_ollama.reply("well again")

    result = await run(agent(provider, model_settings=retrying(2)))

    assert result.final_output == "well again"


async def test_without_a_cool_down_the_first_is_always_asked_first(fake_ollama, second, clock, run):
    fake_ollama.fail(503, "busy")
    fake_ollama.reply("from a")
    second.reply("from b")
    rules = FallbackRules(cool_down=0)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))

    assert (await run(agent(provider))).final_output == "from b"
    assert (await run(agent(provider))).final_output == "from a"


async def test_attempts_bound_how_many_are_asked(fake_ollama, second, third, clock, run):
    fake_ollama.fail(503, "busy")
    second.fail(503, "busy")
    rules = FallbackRules(attempts=2)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second), c=ollama(third))

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider))

    assert [f.reason for f in caught.value.failures] == ["busy", "busy", "attempts"]
    assert not third.requests
