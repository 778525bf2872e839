"""Temporal: errors as it understands them, and one request for each attempt.

Add `TimestepPlugin` after Temporal's own plugin for the SDK, in the client of the worker:

    Client.connect(address, plugins=[
        OpenAIAgentsPlugin(model_provider=MultiModelProvider.from_env(), model_params=...),
        TimestepPlugin(),
    ])

An activity that fails with an error of timestep, or of a model, then fails with an
`ApplicationError` whose type is the name of the class, such as ``RateLimitError``. Temporal repeats
it when `timestep.errors.meaning` says that it passes, after the ``Retry-After`` of the server.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from agents import AgentsException, ModelSettings
from openai import APIStatusError
from openai.types.responses import ResponseFailedEvent
from temporalio.exceptions import ApplicationError
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from timestep.engines.attempts import FailedAttempt, failure_of, once
from timestep.net.json_parts import mapping
from timestep.net.retries import without_retries


class TimestepPlugin(SimplePlugin):
    """Makes a worker fail, retry and wait as timestep's errors say.

    A workflow that raises an error of timestep or of the SDK fails with it. Without the plugin
    Temporal repeats the workflow's code for ever, always with the same result.
    """

    def __init__(self) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] # Temporal leaves activities open
            "TimestepPlugin",
            interceptors=[_Attempts()],
            workflow_runner=_sharing_timestep,
            workflow_failure_exception_types=[AgentsException],
        )


def _sharing_timestep(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Return *runner*, whose workflows see the worker's timestep and not a copy each."""
    if isinstance(runner, SandboxedWorkflowRunner):
        shared = runner.restrictions.with_passthrough_modules("timestep")
        return replace(runner, restrictions=shared)
    return cast("WorkflowRunner", runner)


class _Attempts(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's name
        return _Attempt(next)


class _Attempt(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's name
        call = _model_call(input)
        try:
            if call is None:
                return await super().execute_activity(input)
            return await self._ask_once(input, call)
        except Exception as exc:
            failure = failure_of(exc if call is None else _told_by_model(exc))
            if failure is None:
                raise
            # Temporal stores the frames of every cause, and a failure that is too large loses its class.
            raise _application_error(failure) from _without_frames(exc)

    async def _ask_once(self, input: ExecuteActivityInput, call: Mapping[str, Any]) -> Any:  # noqa: A002 - as above
        asked = {**call, "model_settings": once(call["model_settings"])}
        with without_retries():
            answer = await super().execute_activity(replace(input, args=[asked, *input.args[1:]]))
        if (broken := _broken_off(answer)) is not None:
            raise _application_error(broken)
        return answer


def _without_frames(error: Exception) -> Exception:
    """Return *error*, without the frames of what it was raised for."""
    each = error.__cause__ or error.__context__
    while each is not None:
        each = each.with_traceback(None).__cause__ or each.__context__
    return error


def _application_error(failure: FailedAttempt) -> ApplicationError:
    return ApplicationError(
        failure.message,
        type=failure.name,
        non_retryable=not failure.passes,
        next_retry_delay=None if failure.wait is None else timedelta(seconds=failure.wait),
    )


def _model_call(activity: ExecuteActivityInput) -> Mapping[str, Any] | None:
    """Return the model call that *activity* of Temporal's plugin makes; None for another activity."""
    call = mapping(activity.args[0] if activity.args else None)
    return call if isinstance(call.get("model_settings"), ModelSettings) else None


def _told_by_model(error: Exception) -> Exception:
    """Return the error of the model that *error* hides.

    Temporal's plugin puts its own error in the place of openai's. It raises ValueError when
    ``Retry-After`` is a date.
    """
    hidden = error.__cause__ or error.__context__
    return hidden if isinstance(hidden, APIStatusError) else error


def _broken_off(answer: object) -> FailedAttempt | None:
    """Return how a streamed *answer* broke off after its first words; None for a whole one.

    The events tell no class. What breaks an answer off is temporary or rare.
    """
    last = cast("list[object]", answer)[-1:] if isinstance(answer, list) else []
    if not last or not isinstance(last[0], ResponseFailedEvent):
        return None
    error = last[0].response.error
    message = "The answer broke off." if error is None else error.message
    return FailedAttempt("ModelBehaviorError", message, passes=True)
