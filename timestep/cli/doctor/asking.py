"""Sends one tiny request to each model, when ``--ask`` says so."""

import asyncio
from collections.abc import Iterable
from typing import Literal, TypeAlias

from agents import Model, ModelSettings, ModelTracing, OpenAIResponsesModel
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel

from timestep.answer.defaulted_model import DefaultedModel
from timestep.cli.errors import explain
from timestep.cli.inventory import ConfiguredModel, Inventory
from timestep.openai.model import ChatCompletionsModel
from timestep.registry import MultiModelProvider

_Answer: TypeAlias = tuple[Literal["ok", "problem"], str, str]
"""Whether a model answered, the words, and nothing that fixes it."""
_PATIENCE = 60.0
"""Seconds for an answer; a local model may have to be loaded first."""
_SETTINGS = ModelSettings(max_tokens=16)  # the fewest that OpenAI takes
_APIS: tuple[tuple[type[Model], str], ...] = (
    (OpenAIResponsesModel, " over the Responses API"),
    (OpenAIChatCompletionsModel, " over chat completions"),
    (ChatCompletionsModel, " over chat completions"),
)


def names_to_ask(configured: Iterable[ConfiguredModel], found: Iterable[Inventory]) -> list[str]:
    """Return the configured models, and one model of each other server of OpenAI's API."""
    names = list(dict.fromkeys(entry.model for entry in configured))
    for inventory in found:
        offered = [offer.name for offer in inventory.offers]
        if inventory.kind == "openai" and offered and not {*offered} & {*names}:
            names.append(offered[0])
    return names


async def ask(provider: MultiModelProvider, names: Iterable[str]) -> list[_Answer]:
    """Return whether each of the models *names* answered, and over which API."""
    return await asyncio.gather(*(_ask(provider, name) for name in names))


async def _ask(provider: MultiModelProvider, name: str) -> _Answer:
    try:
        model = provider.get_model(name)
        async with asyncio.timeout(_PATIENCE):
            await model.get_response(
                None,
                "Say ok.",
                _SETTINGS,
                [],
                None,
                [],
                ModelTracing.DISABLED,
                previous_response_id=None,
                conversation_id=None,
                prompt=None,
            )
    except TimeoutError:
        return ("problem", f"{name} did not answer within {_PATIENCE:g} s.", "")
    except Exception as exc:  # noqa: BLE001 - providers of other packages raise anything
        return ("problem", f"{name}: {explain(exc)}", "")
    asked = model.unwrapped if isinstance(model, DefaultedModel) else model
    over = next((words for kind, words in _APIS if isinstance(asked, kind)), "")
    return ("ok", f"{name} answered{over}.", "")
