"""One model call on any wire: send it, read and repair the answer, record it.

The steps: `WireModel._prepare` makes the request; `_ask` sends it, and what comes in feeds the reply;
`settle` decides what the answer is, and may have it asked for again; the span records what happened.
A wire's model supplies the abstract steps.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from agents import (
    AgentOutputSchemaBase,
    Handoff,
    Model,
    ModelResponse,
    ModelRetryAdvice,
    ModelRetryAdviceRequest,
    ModelSettings,
    ModelTracing,
    Tool,
    TResponseInputItem,
)
from agents.items import TResponseStreamEvent
from openai.types.responses.response_prompt_param import ResponsePromptParam

from timestep.answer.defaulted_model import without_implicit
from timestep.answer.events import Events
from timestep.answer.ids import Ids
from timestep.answer.incoming import Incoming
from timestep.answer.outcome import is_empty, settle
from timestep.answer.reply import Reply
from timestep.answer.rules import Repair
from timestep.answer.span import (
    GenerationSpan,
    RecordedErrors,
    keep_bytes,
    open_span,
    record_answer,
    record_error,
    record_host,
    record_request,
)
from timestep.answer.usage import sdk_usage
from timestep.answer.warnings import Warnings
from timestep.answer.wire_request import WireRequest
from timestep.errors import TimestepError
from timestep.errors.retry import retry_advice
from timestep.net.connection import drop_frames
from timestep.net.origin import Origin


@dataclass(slots=True)
class ModelCall:
    """The arguments of one model call."""

    instructions: str | None
    input: str | list[TResponseInputItem]
    settings: ModelSettings = field(repr=False)  # its extra_headers may hold a key
    tools: list[Tool] = field(default_factory=list[Tool])
    output: AgentOutputSchemaBase | None = None
    handoffs: list[Handoff[Any, Any]] = field(default_factory=list[Handoff[Any, Any]])
    tracing: ModelTracing = ModelTracing.DISABLED
    # State that only OpenAI's servers keep, by the name of its argument. Most are None.
    elsewhere: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def state(self) -> list[str]:
        """The names of the arguments that stand for state elsewhere."""
        return state_in(self.elsewhere)


RequestT = TypeVar("RequestT", bound=WireRequest)


@dataclass(slots=True)
class _Run:
    """One model call under way."""

    call: ModelCall
    span: GenerationSpan
    is_streamed: bool
    reply: Reply | None = None  # the answer; None until the request is made
    first_token_seconds: float | None = None  # the time until the first output
    _started: float = field(default_factory=time.monotonic)

    @property
    def has_output(self) -> bool:
        """True once something was shown."""
        return self.reply is not None and self.reply.has_output

    def note_output(self) -> None:
        """Take the time of the first output, once there is some."""
        if self.first_token_seconds is None and self.has_output:
            self.first_token_seconds = time.monotonic() - self._started

    def answer(self) -> Reply:
        """Return the answer. There is one after the first event."""
        assert self.reply is not None, "no events without a reply"  # noqa: S101 - an invariant
        return self.reply

    def record(self) -> None:
        """Put the answer, its usage and its timing on the span."""
        seconds = self.first_token_seconds
        record_answer(self.span, self.call.tracing, self.answer(), first_token_seconds=seconds)

    def fail(self, error: TimestepError) -> Events:
        """Return the events that end a response of which a part was shown."""
        reply = self.answer()
        reply.fail(str(error))
        self.record()
        return reply.take_events()


class WireModel(Model, ABC, Generic[RequestT]):
    """A model whose requests timestep sends itself."""

    knows_implicit_settings: ClassVar[bool] = False
    """True if the settings that the SDK gives an agent without a model are left out."""

    def __init__(
        self,
        model: str,  # the name the caller asks for
        *,
        kind: str,  # names the server in warnings: `"Ollama model"`
        implementation: str,  # the package, for traces
        ids: Ids,  # makes the ids that the server leaves out
        strict: bool,  # raise for what would be ignored with a warning
        settings: ModelSettings | None = None,  # defaults for what a call leaves out
    ) -> None:
        self.model = model
        self.traced_as = model
        """The application's name for the model, with its prefix. Traces use it."""
        self._warnings = Warnings(kind, model, strict=strict)
        self._implementation = implementation
        self._ids = ids
        self._settings = settings or ModelSettings()
        self._has_settings = self._settings != ModelSettings()

    def _filled(self, own: ModelSettings | None) -> ModelSettings:
        if own is not None and self.knows_implicit_settings:
            own = without_implicit(own)
        if isinstance(own, ModelSettings) and not self._has_settings:
            return own
        return self._settings.resolve(own)

    @property
    @abstractmethod
    def _host(self) -> str:
        """The scheme and authority of the server."""

    @abstractmethod
    async def _prepare(self, call: ModelCall) -> RequestT:
        """Return the request for *call*."""

    @abstractmethod
    def _origin(self, request: RequestT) -> Origin:
        """Return the model and server that error messages name."""

    @abstractmethod
    def _ask(self, request: RequestT) -> Incoming:
        """Return the answer to *request*, which is sent when the first piece is asked for."""

    @abstractmethod
    async def _instead(self, request: RequestT, error: TimestepError) -> RequestT:
        """Return the request to send instead, after *error*.

        Raises:
            TimestepError: *error*, or one with better advice, because nothing else can be sent.
        """

    @abstractmethod
    def _repaired(self, request: RequestT, bad: Repair) -> RequestT:
        """Return the request that asks for a better answer."""

    def _note_answer(self, request: RequestT, reply: Reply) -> None:
        """Warn about what may be wrong with an answer that is used anyway."""
        if reply.was_cut:
            limit = request.rules.token_limit or "its own limit or the context window"
            setting = request.rules.limiting
            self._warnings.once(
                "cut",
                f"was cut at its token limit ({limit}), so its answer is incomplete; raise "
                f"{setting}.",
                setting=setting,
            )
        elif is_empty(reply) and not reply.refusals:
            self._warnings.once("empty", "gave an empty answer: white space or thinking alone.")

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """Return the advice for the SDK about repeating a failed call."""
        return retry_advice(request.error)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: ResponsePromptParam | None = None,
    ) -> ModelResponse:
        """Return the whole answer.

        Raises:
            TimestepError: See `timestep.errors`; every class can leave here.
        """
        call = ModelCall(
            system_instructions,
            input,
            self._filled(model_settings),
            tools,
            output_schema,
            handoffs,
            tracing,
            elsewhere(previous_response_id, conversation_id, prompt),
        )
        del model_settings  # a crash report shows variables, and extra_headers may hold a key
        run = _Run(call, self._span(call), is_streamed=False)
        with run.span, RecordedErrors(run.span, tracing, "Error getting response"):
            async for _ in self._events(run):  # to its end: nothing here can break it off
                pass
            reply = run.answer()
            keeps_usage = call.settings.preserve_raw_usage is True
            return ModelResponse(
                output=reply.output,
                usage=sdk_usage(reply.usage),
                response_id=None,
                raw_usage=reply.usage.figures if keeps_usage else None,
            )

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: ResponsePromptParam | None = None,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Yield the answer as it arrives, in the events of OpenAI's Responses API.

        An error before the first output is raised; after it the stream ends with
        ``response.failed``, so that nothing shown is lost. An answer that the token limit cut ends
        with ``response.completed``; its message is ``incomplete``.

        Raises:
            TimestepError: See `timestep.errors`; every class can leave here.
        """
        call = ModelCall(
            system_instructions,
            input,
            self._filled(model_settings),
            tools,
            output_schema,
            handoffs,
            tracing,
            elsewhere(previous_response_id, conversation_id, prompt),
        )
        del model_settings  # a crash report shows variables, and extra_headers may hold a key
        run = _Run(call, self._span(call), is_streamed=True)
        # A generator may be closed in another context than it began in, so the span is not made
        # current: nothing is nested in it.
        run.span.start(mark_as_current=False)
        message = "Error streaming response"
        try:
            with RecordedErrors(run.span, tracing, message):
                async with aclosing(self._events(run)) as batches:
                    try:
                        async for events in batches:
                            for event in events:
                                yield event
                    except TimestepError as exc:
                        if not run.has_output:
                            raise
                        record_error(run.span, tracing, message, exc)
                        for event in run.fail(exc):
                            yield event
        finally:
            run.span.finish(reset_current=False)

    async def _events(self, run: _Run) -> AsyncGenerator[Events]:
        """Yield batches of events as they arrive; the last one ends with the response's last event."""
        call, span = run.call, run.span
        request = await self._begin(run)
        reply = run.answer()
        while True:
            record_request(span, call.tracing, request)
            answer = self._ask(request)
            keep_bytes(span, call.tracing, answer.keep_bytes)
            try:
                try:
                    async for piece in answer:
                        reply.origin = answer.origin
                        reply.feed(answer.read(piece))
                        run.note_output()
                        if events := reply.take_events():
                            yield events
                        if reply.done:
                            break
                    else:
                        reply.origin = answer.origin  # also of an answer without a piece
                        reply.feed(answer.end())
                except TimestepError as exc:
                    reply.feed(answer.rescue(exc))
                finally:
                    await self._close(answer, run)
            except TimestepError as exc:
                # It holds what the server said, which may repeat the key in it; so do the frames.
                piece = None
                drop_frames(exc)
                if reply.has_output:
                    raise exc from exc.__cause__
                request = await self._instead(request, exc)
                continue
            bad = settle(reply)
            if bad is None:
                break
            request = self._repaired(request, bad)
            reply.restart(request.rules)
            if events := reply.take_events():
                yield events
        reply.finish(raw_usage=call.settings.preserve_raw_usage is True)
        # The consumer may stop at the last event, so everything is recorded before it.
        run.record()
        self._note_answer(request, reply)
        yield reply.take_events()

    async def _begin(self, run: _Run) -> RequestT:
        """Prepare the request of *run*, and begin its reply. Return the request."""
        try:
            request = await self._prepare(run.call)
        except TimestepError as exc:
            drop_frames(exc)  # they hold the headers
            raise exc from exc.__cause__
        run.reply = Reply(
            request.rules,
            model=self.model,
            created_at=time.time(),
            ids=self._ids,
            origin=self._origin(request),
            is_streamed=run.is_streamed,
        )
        return request

    async def _close(self, answer: Incoming, run: _Run) -> None:
        record_host(run.span, answer.host)
        for phrase in answer.ignored:
            self._warnings.once(phrase, f"sent {phrase}, which are ignored.")
        await answer.aclose(finished=run.answer().done)

    def _span(self, call: ModelCall) -> GenerationSpan:
        return open_span(
            self.traced_as,
            call.input,
            call.settings,
            call.tracing,
            name=self.model,
            host=self._host,
            implementation=self._implementation,
        )


def state_in(given: Mapping[str, object]) -> list[str]:
    """Return the names of the arguments in *given* that name state which only OpenAI's servers keep."""
    return [name for name in elsewhere(None, None, None) if given.get(name) is not None]


def elsewhere(
    previous_response_id: str | None,
    conversation_id: str | None,
    prompt: ResponsePromptParam | None,
) -> dict[str, object]:
    """Return the arguments that name state which only OpenAI's servers keep."""
    return {
        "previous_response_id": previous_response_id,
        "conversation_id": conversation_id,
        "prompt": prompt,
    }
