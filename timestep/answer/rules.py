"""The rules for reading an answer. The request sets them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from agents import AgentOutputSchemaBase, ModelSettings

from timestep.errors import UnsupportedInputError
from timestep.net.setting_values import REPAIRS


class Reading(Enum):
    """How to read the text of an answer."""

    LIVE = "live"  # the text is the answer and is shown as it arrives
    HELD = "held"  # the text must be a call or match a schema, and is shown once it does
    EMULATED = "emulated"  # JSON: a call, or an object whose `answer` is shown as it arrives


@dataclass(slots=True)
class Rules:
    """The rules for one answer."""

    reading: Reading = Reading.LIVE  # how the text is read
    tools: tuple[str, ...] = ()  # the names of the functions that the answer may call
    must_call: bool = False  # True if the answer must be a call
    one_call: bool = False  # True if only the first call counts
    no_calls: bool = False  # True if calls are ignored, because `tool_choice` is `"none"`
    output: AgentOutputSchemaBase | None = None  # the schema that the final text must match, if any
    call_ids: frozenset[str] = frozenset()  # of the history, which new calls must not have
    is_emulated: bool = False  # True if the prompt describes the tools and calls come as JSON text
    text_calls: bool = False  # True if text that is only the JSON of calls counts as these calls
    think_tags: bool = False  # True if `<think>…</think>` at the start of the text is thinking
    token_limit: str = ""  # the setting that limits it, such as `"max_tokens=100"`
    limits: str = "max_tokens"  # the settings that could limit it, for advice
    repairs: int = REPAIRS  # how many more times the model may be asked again
    is_repair: bool = False  # True if this is a repair

    @property
    def limiting(self) -> str:
        """The setting to raise for a longer answer."""
        return self.token_limit.partition("=")[0] or self.limits

    def chosen(self, settings: ModelSettings, offered: Sequence[str]) -> "Rules":
        """Return these rules with what *settings* say about calls of the *offered* tools.

        Raises:
            UnsupportedInputError: ``tool_choice`` names no tool on offer.
        """
        choice = settings.tool_choice
        if choice in (None, "auto", "required"):
            tools = tuple(offered)
        elif choice == "none":
            tools = ()
        elif isinstance(choice, str) and choice in offered:
            tools = (choice,)
        else:
            raise UnsupportedInputError(
                f"tool_choice is {choice!r}, which is not a function tool of the agent (it offers: "
                f"{', '.join(offered) or 'none'}). Use one of them, 'auto', 'required' or 'none'."
            )
        must_call = choice not in (None, "auto") and bool(tools)
        return replace(
            self,
            reading=Reading.HELD if must_call else self.reading,
            tools=tools,
            must_call=must_call,
            one_call=settings.parallel_tool_calls is False,
            no_calls=choice == "none",
        )

    def repaired(self, bad: "Repair") -> "Rules":
        """Return the rules for the answer that is asked for instead of the *bad* one."""
        return replace(
            self,
            reading=Reading.HELD,
            must_call=bad.wants_call,
            is_emulated=False,
            repairs=self.repairs - 1,
            is_repair=True,
        )


@dataclass(frozen=True, slots=True)
class Repair:
    """An answer that is not right, so the model is asked again."""

    answer: str  # what the model wrote instead
    problem: str  # what is wrong with it, for the model to read
    wants_call: bool = False  # True if the answer must be a call
