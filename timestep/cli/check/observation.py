"""Collects what a model did in one try of a task, from the events of its runs. Pure."""

from dataclasses import dataclass, field
from typing import Any

from timestep.cli.agent.run import Event, Handoff, Text, Thinking, ToolCall, ToolResult


@dataclass
class Observation:
    """What was seen."""

    # The tool calls in their order, those of one answer in one list.
    calls: list[list[ToolCall]] = field(default_factory=list[list[ToolCall]])
    answers: list[str] = field(default_factory=list[str])  # the text that ended each turn
    thinking: bool = False
    agent: str = ""  # the agent that answered last; empty without a handoff
    output: Any = None  # the last answer as a JSON value, if the task has a schema
    _text: str = ""
    _is_calling: bool = False

    def take(self, event: Event) -> None:
        """Note *event*."""
        match event:
            case Text():
                self._text += event.text
            case Thinking():
                self.thinking = self.thinking or bool(event.text.strip())
            case ToolCall():
                self._take_call(event)
            case ToolResult():
                self._text, self._is_calling = "", False
            case Handoff():
                self._text, self.agent = "", event.target
            case _:
                pass

    def end_turn(self) -> None:
        """Note that the answer of a turn is complete."""
        self.answers.append(self._text)
        self._text, self._is_calling = "", False

    def _take_call(self, call: ToolCall) -> None:
        # Results come when the answer has ended, so calls without a result in between are of one.
        if not self._is_calling:
            self.calls.append([])
        self.calls[-1].append(call)
        self._text, self._is_calling = "", True
