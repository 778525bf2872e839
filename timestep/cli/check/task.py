"""A task as its file describes it. Pure, except for reading the file.

`docs/check.md` explains the format. Field names are those of the file.
"""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import click
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

_LONGEST_HAYSTACK = 1_000_000
_CHOICES = {"auto", "none", "required"}
_MORE = ("additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf")
"""Words of a JSON schema that may allow more than ``properties``."""


_Name: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
_Object: TypeAlias = dict[str, JsonValue]


class _Table(BaseModel):
    """A table of a task's file. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(_Table):
    """What a tool returns."""

    when: _Object = Field(default_factory=dict[str, JsonValue])
    result: str


class Tool(_Table):
    """A tool that the model may call."""

    name: _Name
    description: str
    parameters: _Object
    results: tuple[Result, ...]

    def refuse_unknown(self, arguments: _Object, where: str) -> None:
        """Refuse *arguments* that no call of the tool can have."""
        known = self.parameters.get("properties")
        may_have_more = any(self.parameters.get(word, False) is not False for word in _MORE)
        if not isinstance(known, dict) or may_have_more:
            return
        for name in arguments:
            if name not in known:
                raise ValueError(
                    f"{where} has the argument {name!r}, which {self.name} does not take"
                )


class Specialist(_Table):
    """An agent that the first one can hand over to."""

    name: _Name
    description: str
    instructions: str


class Haystack(_Table):
    """Text that is put before the question."""

    # Its length in tokens, about; `"window"` for most of the model's window.
    tokens: Annotated[int, Field(ge=1, le=_LONGEST_HAYSTACK)] | Literal["window"]
    needle: str  # a sentence somewhere in it


class ExpectedCall(_Table):
    """A tool call. None stands for any name, and for any arguments."""

    name: str | None = None
    arguments: _Object | None = None


class Words(_Table):
    """What a text must hold. Case and marks of emphasis do not count."""

    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    ends: str | None = None


class Expectation(_Table):
    """What counts as right. None means that anything does."""

    calls: tuple[ExpectedCall, ...] | None = None
    order: Literal["listed", "together"] = "listed"
    more_calls: bool = False
    agent: str | None = None
    output: JsonValue = None
    answer: Words | None = None
    every_answer: Words | None = None
    thinking: bool | None = None


class Task(_Table):
    """A small job for an agent, and what counts as right."""

    name: _Name
    title: str
    instructions: str
    input: str | Annotated[tuple[str, ...], Field(min_length=1)]
    expect: Expectation
    quick: bool = False
    shows: str = ""
    needs: str = ""
    tools: tuple[Tool, ...] = ()
    agents: tuple[Specialist, ...] = ()
    tool_choice: str | None = None
    reasoning: Literal["none", "minimal", "low", "medium", "high"] | None = None
    output_schema: _Object | None = None
    haystack: Haystack | None = None
    image: Annotated[str, StringConstraints(pattern=r"^data:image/")] | None = None
    max_turns: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        expect = self.expect
        words = (expect.answer or Words(), expect.every_answer or Words())
        if (
            all(each is None for each in (expect.calls, expect.agent, expect.thinking))
            and "output" not in expect.model_fields_set
            and not any(each.contains or each.lacks or each.ends is not None for each in words)
        ):
            raise ValueError("[expect] is empty, so that every answer would be right")
        return self

    @model_validator(mode="after")
    def _expects_what_can_come(self) -> Self:
        tools = {tool.name: tool for tool in self.tools}
        agents = {agent.name for agent in self.agents}
        for call in self.expect.calls or ():
            if call.name is None:
                continue
            if call.name not in tools:
                hint = '; for a handoff write agent = "NAME"' if agents else ""
                raise ValueError(
                    f"[expect] has a call of {call.name!r}, which is not among the tools{hint}"
                )
            tools[call.name].refuse_unknown(call.arguments or {}, "[expect]")
        for tool in self.tools:
            for each in tool.results:
                tool.refuse_unknown(each.when, "a result")
        if self.expect.agent is not None and self.expect.agent not in agents:
            raise ValueError(
                f"[expect] has the agent {self.expect.agent!r}, which is not in agents"
            )
        if "output" in self.expect.model_fields_set and self.output_schema is None:
            raise ValueError("[expect] has an output, which needs an output_schema")
        if self.tool_choice is not None and self.tool_choice not in tools.keys() | _CHOICES:
            raise ValueError(f"tool_choice is {self.tool_choice!r}, which is not among the tools")
        return self

    @property
    def messages(self) -> tuple[str, ...]:
        """The user's messages, one for each turn."""
        return (self.input,) if isinstance(self.input, str) else self.input


def builtin_tasks() -> list[Task]:
    """Return the tasks that come with timestep, sorted by name."""
    tables = {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in files("timestep.cli.check").joinpath("tasks").iterdir()
        if file.name.endswith(".toml")
    }
    return [Task.model_validate({"name": name, **tables[name]}) for name in sorted(tables)]


def read_task(path: Path) -> Task:
    """Return the task in the file at *path*."""
    from timestep.answer.json_schema import check_json_schema

    try:
        table = tomllib.loads(path.read_text("utf-8-sig"))
        task = Task.model_validate({"name": path.stem, **table})
        for tool in task.tools:
            check_json_schema(tool.name, tool.parameters)
        if task.output_schema is not None:
            check_json_schema("output_schema", task.output_schema)
    except OSError as exc:
        raise click.UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise click.UsageError(f"{path} is not TOML: {exc}.") from exc
    except RecursionError as exc:
        raise click.UsageError(f"{path} is not a task: it is nested too deeply.") from exc
    except ValidationError as exc:
        problems = [
            "  " + ": ".join(filter(None, (".".join(map(str, error["loc"])), _words(error["msg"]))))
            for error in exc.errors()
        ]
        raise click.UsageError("\n".join([f"{path} is not a task:", *problems])) from exc
    except ValueError as exc:
        raise click.UsageError(f"{path} is not a task: {exc}.") from exc
    return task


def _words(message: str) -> str:
    return message.removeprefix("Value error, ")  # pydantic's, before the words of a validator
