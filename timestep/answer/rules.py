"""The rules for reading an answer. The request sets them."""

from dataclasses import dataclass
from enum import Enum

from agents import AgentOutputSchemaBase


class Reading(Enum):
    """How to read the text of an answer.

    Attributes:
        LIVE: The text is the answer and is shown as it arrives.
        HELD: The text must be a call or match a schema, and is shown once it does.
        EMULATED: The text is JSON: a call, or an object whose ``answer`` is shown as it arrives.
    """

    LIVE = "live"
    HELD = "held"
    EMULATED = "emulated"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for one answer.

    Attributes:
        reading: How the text is read.
        tools: The names of the functions that the answer may call.
        must_call: True if the answer must be a call.
        one_call: True if only the first call counts.
        no_calls: True if calls are ignored, because ``tool_choice`` is ``"none"``.
        output: The schema that the final text must match, if any.
        call_ids: The call ids of the history, which new calls must not have.
        is_emulated: True if the prompt describes the tools and calls come as JSON text.
        text_calls: True if text that is only the JSON of calls counts as these calls.
        think_tags: True if ``<think>…</think>`` at the start of the text is thinking.
        token_limit: The setting that limits the answer, such as ``"max_tokens=100"``; empty if none
            is set.
        limits: The settings that could limit the answer, for advice if the request sets none.
        repairs: How many more times the model may be asked again.
        is_repair: True if this is a repair.
    """

    reading: Reading = Reading.LIVE
    tools: tuple[str, ...] = ()
    must_call: bool = False
    one_call: bool = False
    no_calls: bool = False
    output: AgentOutputSchemaBase | None = None
    call_ids: frozenset[str] = frozenset()
    is_emulated: bool = False
    text_calls: bool = False
    think_tags: bool = False
    token_limit: str = ""
    limits: str = "max_tokens"
    repairs: int = 1
    is_repair: bool = False


@dataclass(frozen=True, slots=True)
class Repair:
    """An answer that is not right, so the model is asked again.

    Attributes:
        answer: What the model wrote instead.
        problem: What is wrong with it, for the model to read.
        wants_call: True if the answer must be a call.
    """

    answer: str
    problem: str
    wants_call: bool = False
