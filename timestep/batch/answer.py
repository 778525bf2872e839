"""One line of a batch, asked until it is answered or given up.

Every runner of a batch has an `Asker`: the loop of this process and each worker of a cluster.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from agents import (
    Agent,
    ItemHelpers,
    Model,
    ModelProvider,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelRetrySettings,
    ModelSettings,
    ModelTracing,
    RunConfig,
    Runner,
    Usage,
    retry_policies,
)
from openai.types.responses import ResponseOutputMessage, ResponseOutputText
from pydantic_core import to_json

from timestep.batch.bodies import write_chat, write_responses
from timestep.batch.lines import CHAT, Line
from timestep.batch.output import row_id
from timestep.batch.question import Json
from timestep.errors import ConfigurationError

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
"""Seconds before a retry when the server does not name any; each wait is twice the last."""

_MODELS = 1000
"""How many models are kept, because to make one takes longer than to ask it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one line.

    Attributes:
        line: What was asked.
        row: OpenAI's output line, ready for the file.
        text: The words of the answer; empty when it failed, or when the answer is only tool calls.
        error: Why it was given up; None when it was answered.
        usage: Of all its model calls.
        attempts: How often it was asked.
        seconds: From the first attempt to the end.
    """

    line: Line
    row: Json = field(repr=False)
    text: str
    error: Exception | None
    usage: Usage
    attempts: int
    seconds: float


class Asker:
    """Sends each line to its model and returns the row to write.

    A failure that may pass is retried, after the wait that the server asks for. No failure of a
    model leaves it; it becomes the row's error.
    """

    def __init__(
        self, provider: ModelProvider, agent: Agent[Any] | None = None, retries: int = 3
    ) -> None:
        self._provider = provider
        self._agent = agent
        self._retries = retries
        self._model = lru_cache(_MODELS)(provider.get_model)

    async def __call__(self, line: Line) -> Result:
        """Return the result of *line*."""
        started = time.monotonic()
        attempts = 0
        response = None
        try:
            if self._agent is not None:
                attempts = 1
                response = await _run_agent(line, self._provider, self._agent, self._retries)
            while response is None:
                attempts += 1
                model = self._model(line.question.model)
                response = await _attempt(line, model, attempts, is_last=attempts > self._retries)
        except Exception as exc:  # noqa: BLE001 - one line never ends a batch
            return failed(line, exc, attempts, time.monotonic() - started)
        row = _answer_row(line, response)
        seconds = time.monotonic() - started
        text = "\n".join(
            text for item in response.output if (text := ItemHelpers.extract_text(item))
        )
        return Result(line, row, text, None, response.usage, attempts, seconds)


def failed(line: Line, error: Exception, attempts: int, seconds: float) -> Result:
    """Return the result of a *line* that failed with *error*."""
    return Result(line, _failure_row(line, error), "", error, Usage(), attempts, seconds)


async def _attempt(
    line: Line, model: Model, attempt: int, *, is_last: bool
) -> ModelResponse | None:
    """The answer of *model*; None after the wait that a failure asks for, when it may pass."""
    try:
        return await _ask(line, model)
    except Exception as exc:
        request = ModelRetryAdviceRequest(error=exc, attempt=attempt, stream=False)
        advice = model.get_retry_advice(request)
        if is_last or advice is None or not advice.suggested:
            raise
        await asyncio.sleep(_wait(advice, attempt))
        return None


async def _ask(line: Line, model: Model) -> ModelResponse:
    question = line.question
    return await model.get_response(
        system_instructions=question.instructions,
        input=question.input,
        model_settings=question.settings,
        tools=list(question.tools),
        output_schema=question.output,
        handoffs=[],
        tracing=ModelTracing.DISABLED,
        previous_response_id=None,
        conversation_id=None,
        prompt=None,
    )


async def _run_agent(
    line: Line, provider: ModelProvider, agent: Agent[Any], retries: int
) -> ModelResponse:
    """The last words of *agent*, as the answer of a model."""
    question = line.question
    retry = ModelRetrySettings(max_retries=retries, policy=retry_policies.provider_suggested())
    config = RunConfig(
        model=question.model,
        model_provider=provider,
        model_settings=ModelSettings(retry=retry).resolve(question.settings),
        tracing_disabled=True,
    )
    result = await Runner.run(agent, question.input, run_config=config)
    if result.interruptions:
        names = ", ".join(str(each.name) for each in result.interruptions)
        raise ConfigurationError(
            f"A tool call needs approval, which a batch cannot ask for: {names}. Set "
            "needs_approval=False."
        )
    said = result.final_output
    words = said if isinstance(said, str) else to_json(said, fallback=str).decode()
    text = ResponseOutputText(annotations=[], text=words, type="output_text")
    message = ResponseOutputMessage(
        id="msg_final", content=[text], role="assistant", status="completed", type="message"
    )
    for item in result.raw_responses[-1].output if result.raw_responses else ():
        if isinstance(item, ResponseOutputMessage) and item.status == "incomplete":
            message = item.model_copy(update={"content": [text]})  # it says what cut the answer
    usage = result.context_wrapper.usage
    return ModelResponse(output=[message], usage=usage, response_id=None)


def _wait(advice: ModelRetryAdvice, attempt: int) -> float:
    """Seconds until the next attempt; a little different for each line, so that they spread."""
    if advice.retry_after is not None:
        return advice.retry_after
    wait: float = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_WAIT)
    return wait * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret


def _answer_row(line: Line, response: ModelResponse) -> Json:
    write = write_chat if line.url == CHAT else write_responses
    prefix = "chatcmpl" if line.url == CHAT else "resp"
    key, created = line.key, int(time.time())
    body = write(response, line.question, answer_id=f"{prefix}-{key}", created=created)
    return _row(line, key, 200, body)


def _failure_row(line: Line, error: Exception) -> Json:
    said = {"code": type(error).__name__, "message": str(error)}
    body = {"error": {**said, "type": said["code"], "param": None}}
    return _row(line, line.key, getattr(error, "status_code", None), body, said)


def _row(line: Line, key: str, status: object, body: Json, error: Json | None = None) -> Json:
    answered = {"status_code": status, "request_id": f"req_{key}", "body": body}
    return {
        "id": row_id(key),
        "custom_id": line.custom_id,
        "response": answered if isinstance(status, int) else None,
        "error": error,
    }
