"""`OllamaModel`: one Ollama model as the Agents SDK calls it."""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Unpack

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
    Usage,
)
from agents.items import TResponseStreamEvent
from openai.types.responses.response_prompt_param import ResponsePromptParam

from timestep.answer import ids
from timestep.answer.events import Events
from timestep.answer.items import Ids
from timestep.answer.outcome import is_empty, settle
from timestep.answer.reply import Reply
from timestep.answer.rules import Rules
from timestep.errors import (
    CapabilityError,
    ConfigurationError,
    ContextWindowExceededError,
    OllamaError,
    OllamaStatusError,
    UnsupportedInputError,
)
from timestep.errors.retry import retry_advice
from timestep.net.urls import authority
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.endpoint import check_model_name
from timestep.ollama.errors import THINK_LEVELS
from timestep.ollama.foreign import chat_source
from timestep.ollama.lines import ChatLines
from timestep.ollama.model_options import OllamaKeywords, OllamaModelOptions, applies_to
from timestep.ollama.overflow import advised
from timestep.ollama.pool import Pool
from timestep.ollama.render import (
    RenderedPrompt,
    may_be_refused,
    read_rendered,
    render_body,
    whole_prompt,
)
from timestep.ollama.request.build import Abilities, ChatRequest, build_request, repair
from timestep.ollama.request.messages import build_conversation, remote_images
from timestep.ollama.request.options import settings_to_fields
from timestep.ollama.request.relax import (
    is_refused_format,
    refused_format_error,
    without_constraint,
)
from timestep.ollama.request.tools import ToolConversion
from timestep.ollama.source import ChatSource
from timestep.ollama.trace import (
    GenerationSpan,
    keep_bytes,
    open_span,
    record_answer,
    record_error,
    record_host,
    record_request,
    recorded_errors,
)
from timestep.ollama.wire import Wire

logger = logging.getLogger("timestep")

_IDS = Ids(
    response=ids.new_response_id,
    message=ids.new_message_id,
    function_call=ids.new_function_call_id,
    call=ids.new_call_id,
)


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of one model call."""

    instructions: str | None
    input: str | list[TResponseInputItem]
    settings: ModelSettings
    tools: list[Tool]
    output: AgentOutputSchemaBase | None
    handoffs: list[Handoff[Any, Any]]
    tracing: ModelTracing
    elsewhere: Mapping[str, object]  # state that only OpenAI keeps


@dataclass(slots=True)
class _Progress:
    """How far a model call has come."""

    started: float
    is_streamed: bool
    reply: Reply | None = None
    first_token_seconds: float | None = None

    @property
    def has_output(self) -> bool:
        """True once something was shown."""
        return self.reply is not None and self.reply.has_output


class OllamaModel(Model):
    """One model of an Ollama server.

    Args:
        model: The model's name, as the caller writes it.
        ollama_client: An ``ollama.AsyncClient``, or any object with its async ``chat(**kwargs)``.
        catalogue: What is known about the abilities of the server's models. Models of one server
            share it, so that each ability is asked for once; unset, the model has its own.
        keywords: How the model is asked: ``options``, ``keep_alive``, ``timeout``,
            ``on_context_overflow``, ``strict_feature_validation``, ``tool_emulation``,
            ``allow_remote_images``, ``text_calls``, ``think_tags`` and ``repairs``, as `OllamaModelOptions` says.

    Raises:
        ConfigurationError: The client or a keyword cannot be used.
        UnknownModelError: *model* is not a name.
        UnsupportedInputError: Ollama would refuse an option or ``keep_alive``.
    """

    def __init__(
        self,
        model: str,
        ollama_client: object,
        *,
        catalogue: Catalogue | None = None,
        **keywords: Unpack[OllamaKeywords],
    ) -> None:
        self.model = check_model_name(model)
        self._options = OllamaModelOptions.of(**keywords)
        self._source: ChatSource = chat_source(ollama_client, self._options.timeout)
        self._served_as = self._source.endpoint.name_of(self.model)
        self._catalogue = catalogue or Catalogue(self._source)
        self._tools = ToolConversion()
        self._warned: set[str] = set()

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """What the SDK should know about repeating a failed call."""
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
        """The whole answer.

        Raises:
            TimestepError: See `timestep.errors`; every class can leave here.
        """
        call = _Call(
            system_instructions,
            input,
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            _elsewhere(previous_response_id, conversation_id, prompt),
        )
        span = self._span(call)
        with span, recorded_errors(span, tracing, "Error getting response"):
            reply = await self._whole(call, span)
            counts = reply.usage
            usage = Usage(
                requests=counts.requests,
                input_tokens=counts.input_tokens,
                output_tokens=counts.output_tokens,
                total_tokens=counts.total_tokens,
            )
            usage.input_tokens_details.cached_tokens = counts.cached_tokens
            keeps_usage = model_settings.preserve_raw_usage is True
            return ModelResponse(
                output=reply.output,
                usage=usage,
                response_id=None,
                raw_usage=counts.figures if keeps_usage else None,
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
        """The answer as it arrives, in the events of OpenAI's Responses API.

        An error before the first output is raised; after it the stream ends with
        ``response.failed``, so that nothing shown is lost. An answer that the token limit cut ends
        with ``response.completed``; its last item is ``incomplete``.

        Raises:
            TimestepError: See `timestep.errors`; every class can leave here.
        """
        call = _Call(
            system_instructions,
            input,
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            _elsewhere(previous_response_id, conversation_id, prompt),
        )
        span = self._span(call)
        # A generator may be closed in another context than it began in, so the span is not made
        # current: nothing is nested in it.
        span.start(mark_as_current=False)
        message = "Error streaming response"
        progress = _Progress(time.monotonic(), is_streamed=True)
        try:
            with recorded_errors(span, tracing, message):
                async with aclosing(self._events(call, span, progress)) as batches:
                    try:
                        async for events in batches:
                            for event in events:
                                yield event
                    except OllamaError as exc:
                        if progress.reply is None or not progress.has_output:
                            raise
                        record_error(span, tracing, message, exc)
                        for event in self._failed(call, span, progress, progress.reply, exc):
                            yield event
        finally:
            span.finish(reset_current=False)

    async def render(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],  # noqa: A002 - the SDK's name
        model_settings: ModelSettings | None = None,
        tools: Sequence[Tool] = (),
        output_schema: AgentOutputSchemaBase | None = None,
        handoffs: Sequence[Handoff[Any, Any]] = (),
        tracing: ModelTracing = ModelTracing.DISABLED,
        **elsewhere: object,
    ) -> RenderedPrompt:
        """The prompt the server would feed the model for this call, and what it cut away.

        Nothing is generated. The arguments are those of `get_response`.

        Raises:
            ConfigurationError: The client is not one whose connection can be used.
            TimestepError: See `timestep.errors`; every class can leave here.
        """
        call = _Call(
            system_instructions,
            input,
            model_settings or ModelSettings(),
            list(tools),
            output_schema,
            list(handoffs),
            tracing,
            {name: value for name, value in elsewhere.items() if value is not None},
        )
        if not isinstance(self._source, Wire | Pool):
            raise ConfigurationError(
                "render() asks the server itself, which an ollama_client with a chat() of its own "
                "hides; give base_url, or a plain ollama.AsyncClient."
            )
        request = await self._prepare(call)
        cut = await self._rendered(request, truncate=True)
        if not may_be_refused(cut, request.body):
            return cut
        return whole_prompt(cut, await self._rendered(request, truncate=False))

    async def _rendered(self, request: ChatRequest, *, truncate: bool) -> RenderedPrompt:
        """Return the prompt of *request* as the server renders it, cut or not."""
        assert isinstance(self._source, Wire | Pool), "only these can ask"  # noqa: S101 - an invariant
        asked = render_body(request.body, truncate=truncate)
        answer, origin = await self._source.ask("/api/chat", asked, request.headers)
        return read_rendered(answer, request.body, replace(origin, model=self.model))

    async def _whole(self, call: _Call, span: GenerationSpan) -> Reply:
        """The finished reply: read as if it was streamed, with nobody looking."""
        progress = _Progress(time.monotonic(), is_streamed=False)
        async with aclosing(self._events(call, span, progress)) as batches:
            async for _ in batches:
                pass
        assert progress.reply is not None, "no events without a reply"  # noqa: S101 - an invariant
        return progress.reply

    async def _events(
        self, call: _Call, span: GenerationSpan, progress: _Progress
    ) -> AsyncGenerator[Events]:
        """Batches of events as they arrive; the last one ends with the response's last event."""
        request = await self._prepare(call)
        reply = progress.reply = Reply(
            request.rules,
            model=self.model,
            created_at=time.time(),
            ids=_IDS,
            origin=self._source.origin(self.model, request.headers),
            is_streamed=progress.is_streamed,
        )
        while True:
            record_request(span, call.tracing, request)
            try:
                async with aclosing(self._exchange(request, reply, call.tracing, span)) as batches:
                    async for events in batches:
                        if progress.first_token_seconds is None and reply.has_output:
                            progress.first_token_seconds = time.monotonic() - progress.started
                        yield events
            except OllamaError as exc:
                if (plain := self._without_level(request, exc)) is not None:
                    request = plain
                    continue
                if (relaxed := self._without_constraint(request, exc)) is not None:
                    request = relaxed
                    continue
                error = await self._advised(request, exc)
                # The frames hold what the server said, which may repeat the key in it; a crash
                # report would show them.
                exc.__traceback__ = None
                raise error.with_traceback(None) from exc.__cause__
            bad = settle(reply)
            if bad is None:
                break
            request = repair(request, bad)
            reply.restart(request.rules)
            if events := reply.take_events():
                yield events
        reply.finish(raw_usage=call.settings.preserve_raw_usage is True)
        # The consumer may stop at the last event, so everything is recorded before it.
        self._record(call, span, progress, reply)
        self._warn_of_answer(request, reply)
        yield reply.take_events()

    async def _exchange(
        self, request: ChatRequest, reply: Reply, tracing: ModelTracing, span: GenerationSpan
    ) -> AsyncGenerator[Events]:
        """Ask, and read the answer into *reply*."""
        stream = self._source.chat(request.body, request.headers, self.model)
        keep_bytes(span, tracing, stream)
        lines = ChatLines(stream.origin)
        try:
            async for piece in stream:
                reply.origin = lines.origin = stream.origin
                if isinstance(piece, bytes):
                    reply.feed(lines.feed(piece))
                else:
                    reply.feed(lines.feed_parsed(piece))
                yield reply.take_events()
                if reply.done:
                    break
            reply.origin = lines.origin = stream.origin  # also of an answer without a piece
            reply.feed(lines.end_of_body())
        except OllamaError as exc:
            stream.note_error(exc)
            if isinstance(exc, CapabilityError):
                self._catalogue.forget(self._served_as)
            raise
        finally:
            record_host(span, stream.host)
            await stream.aclose(finished=reply.done)

    async def _advised(self, request: ChatRequest, error: OllamaError) -> OllamaError:
        """Return *error*, or one whose advice fits the request and the model."""
        if isinstance(error, OllamaStatusError) and is_refused_format(error):
            return refused_format_error(request, error)
        if not isinstance(error, ContextWindowExceededError):
            return error
        abilities = await self._catalogue.abilities(self._served_as, ask=True)
        return advised(error, request.body, abilities.context_length)

    def _without_constraint(self, request: ChatRequest, error: OllamaError) -> ChatRequest | None:
        """Return *request* without the constraint that the server's grammar refused."""
        if not isinstance(error, OllamaStatusError) or not is_refused_format(error):
            return None
        relaxed = without_constraint(request, error)
        if relaxed is not None:
            self._warn(["a constraint of the schema, which the server's grammar refused"])
        return relaxed

    def _without_level(self, request: ChatRequest, error: OllamaError) -> ChatRequest | None:
        """Return *request* with plain thinking when the server refused a level of it."""
        is_refused = isinstance(error, CapabilityError) and error.capability == THINK_LEVELS
        if not is_refused or not isinstance(request.body.get("think"), str):
            return None
        self._catalogue.note_no_levels(self._served_as)
        return self._with_plain_think(request)

    def _with_plain_think(self, request: ChatRequest) -> ChatRequest:
        """Return *request* for a server that knows thinking only as on and off."""
        if not isinstance(request.body.get("think"), str):
            return request
        self._warn(["the level of reasoning.effort (this server only turns thinking on or off)"])
        return replace(request, body={**request.body, "think": True})

    def _failed(
        self,
        call: _Call,
        span: GenerationSpan,
        progress: _Progress,
        reply: Reply,
        error: OllamaError,
    ) -> Events:
        """The events that end a response which was already shown in part."""
        reply.fail(str(error))
        self._record(call, span, progress, reply)
        return reply.take_events()

    def _record(self, call: _Call, span: GenerationSpan, progress: _Progress, reply: Reply) -> None:
        record_answer(
            span,
            call.tracing,
            usage=reply.usage,
            output=reply.output,
            first_token_seconds=progress.first_token_seconds,
            dropped_calls=reply.dropped_calls,
        )

    def _span(self, call: _Call) -> GenerationSpan:
        host = authority(self._source.endpoint.base_url)
        return open_span(self.model, call.settings, call.tracing, host)

    async def _prepare(self, call: _Call) -> ChatRequest:
        """The request for *call*; asks the server what the model can do where that matters."""
        self._warn([f"{name} (Ollama keeps no state)" for name in call.elsewhere])
        tools = self._tools.convert(call.tools, call.handoffs)
        offers = bool(tools) and call.settings.tool_choice != "none"
        fields = settings_to_fields(call.settings, self._options)
        conversation = build_conversation(
            call.input,
            model=self.model,
            instructions=call.instructions,
            fetched=await self._fetch(call.input),
        )
        needs = (
            offers
            or bool(conversation.media)
            or bool(conversation.call_ids)  # a model without tools has no place for them
            or bool(fields.top_level.get("think"))
            or applies_to(self.model, self._options.think_tags)
        )
        abilities = await self._catalogue.abilities(self._served_as, ask=needs)
        if offers and not self._options.tool_emulation:
            abilities = await self._catalogue.check(
                self._served_as, abilities, "tools", asked=self.model
            )
        for need in sorted(conversation.media):
            abilities = await self._catalogue.check(
                self._served_as, abilities, need, asked=self.model
            )
        request = build_request(
            model=self._served_as,
            conversation=conversation,
            fields=fields,
            settings=call.settings,
            tools=tools,
            output=call.output,
            abilities=abilities,
            emulate_tools=self._options.tool_emulation,
            rules=self._rules(abilities),
        )
        if not self._catalogue.knows_levels(self._served_as):
            request = self._with_plain_think(request)
        self._warn([*request.ignored, *self._source.losses(request.body, request.headers)])
        return request

    def _rules(self, abilities: Abilities) -> Rules:
        """Return what the options say about reading an answer."""
        options = self._options
        thinks = "thinking" in (abilities.capabilities or ())
        return Rules(
            text_calls=applies_to(self.model, options.text_calls),
            think_tags=not thinks and applies_to(self.model, options.think_tags),
            repairs=options.repairs,
        )

    async def _fetch(self, items: str | list[TResponseInputItem]) -> dict[str, bytes]:
        if not self._options.allow_remote_images or isinstance(items, str):
            return {}
        from timestep.ollama.request.fetch import fetch_images  # noqa: PLC0415 - few want it, it loads httpx

        return await fetch_images(remote_images(items))

    def _warn(self, ignored: list[str] | tuple[str, ...]) -> None:
        """Warn of each ignored thing once, or refuse them all under strict validation."""
        if not ignored:
            return
        if self._options.strict_feature_validation:
            raise UnsupportedInputError(
                f"{self.model!r} runs on Ollama, which cannot take: {'; '.join(ignored)}. Leave it "
                "out, or turn strict_feature_validation off to have it ignored."
            )
        for phrase in ignored:
            if phrase not in self._warned:
                self._warned.add(phrase)
                logger.warning("Ollama model %r ignores %s.", self.model, phrase)

    def _warn_of_answer(self, request: ChatRequest, reply: Reply) -> None:
        """Warn once of each thing that may be wrong with an answer that is used all the same."""
        if reply.was_cut:
            limit = request.rules.token_limit or "its own limit or the context window"
            self._warn_once(
                "cut",
                f"was cut at its token limit ({limit}), so its answer is incomplete; raise "
                f"{request.rules.token_limit.partition('=')[0] or 'max_tokens or num_ctx'}.",
            )
        elif is_empty(reply):
            self._warn_once("empty", "gave an empty answer: white space or thinking alone.")
        # When prompt and answer filled the window, the server may have cut something.
        window = request.body.get("options", {}).get("num_ctx")
        used = reply.usage.total_tokens
        if (
            isinstance(window, int)
            and 0 < window <= used  # -1 lets the server choose
            and request.body.get("truncate") is not False
            and reply.usage.requests == 1
        ):
            self._warn_once(
                "window",
                f"used {used} of the {window} tokens of its window, so the beginning may have been "
                "cut; raise num_ctx.",
            )

    def _warn_once(self, topic: str, said: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning("Ollama model %r %s", self.model, said)


def _elsewhere(
    previous_response_id: str | None,
    conversation_id: str | None,
    prompt: ResponsePromptParam | None,
) -> dict[str, object]:
    state = {
        "previous_response_id": previous_response_id,
        "conversation_id": conversation_id,
        "prompt": prompt,
    }
    return {name: value for name, value in state.items() if value is not None}
