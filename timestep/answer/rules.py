"""The rules for reading an answer, as its request sets them."""

from dataclasses import dataclass
from enum import Enum

from agents import AgentOutputSchemaBase


class Reading(Enum):
    """How the text of an answer is read.

    Attributes:
        LIVE: The text is the answer and is shown as it arrives.
        HELD: The text has to be a call or to match a schema, and is shown once it does.
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
        tools: The names of the functions the answer may call.
        must_call: True when the answer has to be a call.
        one_call: True when only the first call counts.
        no_calls: True when calls do not count: ``tool_choice`` is ``"none"``.
        output: The schema the final text has to match, if any.
        call_ids: The call ids of the history, which no new call may have.
        is_emulated: True when tools are described in words and calls come as JSON text.
        text_calls: True when a text that is nothing but calls in JSON is taken for calls.
        think_tags: True when ``<think>…</think>`` at the head of the text is thinking.
        token_limit: The setting that limits the answer, such as ``"max_tokens=100"``; empty when
            none is set.
        limits: The settings that may limit the answer when the request sets none of them.
        repairs: How many more times the model may be asked again.
        is_repair: True when the model was asked again.
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
    """An answer that has to be asked for again.

    Attributes:
        answer: What the model wrote instead.
        problem: What is wrong with it, in words for the model.
        wants_call: True when the answer has to be a call.
    """

    answer: str
    problem: str
    wants_call: bool = False
