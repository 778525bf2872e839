"""`OllamaModel`: one Ollama model as the Agents SDK calls it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

from agents import (
    AgentOutputSchemaBase,
    Handoff,
    ModelSettings,
    ModelTracing,
    Tool,
    TResponseInputItem,
)

from timestep.answer.call import ModelCall, WireModel
from timestep.answer.ids import Ids
from timestep.answer.reply import Reply
from timestep.answer.rules import Repair, Rules
from timestep.errors import (
    CapabilityError,
    ContextWindowExceededError,
    OllamaStatusError,
    TimestepError,
)
from timestep.net.model_names import applies_to
from timestep.net.origin import Origin
from timestep.net.urls import authority
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.endpoint import check_model_name
from timestep.ollama.given_client import chat_source
from timestep.ollama.model_options import OllamaKeywords, OllamaModelOptions
from timestep.ollama.overflow import advised
from timestep.ollama.render import (
    RenderedPrompt,
    may_be_refused,
    read_rendered,
    render_body,
    whole_prompt,
)
from timestep.ollama.request.build import Abilities, ChatRequest, build_request
from timestep.ollama.request.content import remote_images
from timestep.ollama.request.messages import build_conversation
from timestep.ollama.request.options import settings_to_fields
from timestep.ollama.request.repair import (
    is_refused_format,
    refused_format_error,
    repair,
    without_constraint,
)
from timestep.ollama.request.tools import ToolConversion
from timestep.ollama.server_errors import THINK_LEVELS
from timestep.ollama.source import Chat, ChatSource


class OllamaModel(WireModel[ChatRequest]):
    """One model of an Ollama server.

    Args:
        model: The model's name, as the caller writes it.
        ollama_client: An ``ollama.AsyncClient``, or any object with its async ``chat(**kwargs)``.
        settings: For what a call leaves out; they win over ``options``.
        catalogue: What is known about the abilities of the server's models. Models of one server
            share it, so that each ability is asked for once; unset, the model has its own.
        keywords: How the model is asked, such as ``options`` and ``timeout``; the attributes of
            `OllamaModelOptions` list them all.

    Raises:
        ConfigurationError: The client or a keyword cannot be used.
        UnknownModelError: *model* is not a name.
        UnsupportedInputError: Ollama would refuse an option or ``keep_alive``.
    """

    knows_implicit_settings = True

    def __init__(
        self,
        model: str,
        ollama_client: object,
        *,
        settings: ModelSettings | None = None,
        catalogue: Catalogue | None = None,
        **keywords: Unpack[OllamaKeywords],
    ) -> None:
        self._options = OllamaModelOptions.of(**keywords)
        super().__init__(
            check_model_name(model),
            kind="Ollama model",
            implementation="timestep.ollama",
            ids=Ids(),
            strict=self._options.strict_feature_validation,
            settings=settings,
        )
        self._source: ChatSource = chat_source(ollama_client, self._options.timeout)
        self._served_as = self._source.endpoint.name_of(self.model)
        self._catalogue = catalogue or Catalogue(self._source)
        self._tools = ToolConversion()

    @property
    def _host(self) -> str:
        return authority(self._source.endpoint.base_url)

    def _origin(self, request: ChatRequest) -> Origin:
        return self._source.origin(self.model, request.headers)

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
        """Return the prompt the server would feed the model for this call, and what it cut away.

        Nothing is generated. The arguments are those of `get_response`.

        Raises:
            ConfigurationError: The client is not one whose connection can be used.
            TimestepError: See `timestep.errors`; every class can leave here.
        """
        call = ModelCall(
            system_instructions,
            input,
            self._filled(model_settings),
            list(tools),
            output_schema,
            list(handoffs),
            tracing,
            elsewhere,
        )
        request = await self._prepare(call)
        cut = await self._rendered(request, truncate=True)
        if not may_be_refused(cut, request.body):
            return cut
        return whole_prompt(cut, await self._rendered(request, truncate=False))

    async def _rendered(self, request: ChatRequest, *, truncate: bool) -> RenderedPrompt:
        """Return the prompt of *request* as the server renders it, cut or not."""
        asked = render_body(request.body, truncate=truncate)
        answer, origin = await self._source.ask("/api/chat", asked, request.headers)
        return read_rendered(answer, request.body, replace(origin, model=self.model))

    def _ask(self, request: ChatRequest) -> Chat:
        return self._source.chat(request.body, request.headers, self.model)

    async def _instead(self, request: ChatRequest, error: TimestepError) -> ChatRequest:
        cause = error.__cause__
        if isinstance(error, CapabilityError):
            self._catalogue.forget(self._served_as)
            if error.capability == THINK_LEVELS and isinstance(request.body.get("think"), str):
                self._catalogue.note_no_levels(self._served_as)
                return self._with_plain_think(request)
        elif isinstance(error, OllamaStatusError) and is_refused_format(error):
            if (relaxed := without_constraint(request, error)) is not None:
                self._warnings.ignored(
                    ["a constraint of the schema, which the server's grammar refused"]
                )
                return relaxed
            error = refused_format_error(request, error)
        elif isinstance(error, ContextWindowExceededError):
            abilities = await self._catalogue.abilities(self._served_as, ask=True)
            error = advised(error, request.body, abilities.context_length)
        raise error.with_traceback(None) from cause

    def _repaired(self, request: ChatRequest, bad: Repair) -> ChatRequest:
        return repair(request, bad)

    def _with_plain_think(self, request: ChatRequest) -> ChatRequest:
        """Return *request* for a server that knows thinking only as on and off."""
        if not isinstance(request.body.get("think"), str):
            return request
        self._warnings.ignored(
            ["the level of reasoning.effort (this server only turns thinking on or off)"]
        )
        return replace(request, body={**request.body, "think": True})

    async def _prepare(self, call: ModelCall) -> ChatRequest:
        """Return the request for *call*; ask the server what the model can do where that matters."""
        self._warnings.ignored([f"{name} (Ollama keeps no state)" for name in call.state])
        tools = self._tools.convert(call.tools, call.handoffs)
        offers = bool(tools) and call.settings.tool_choice != "none"
        fields = settings_to_fields(call.settings, self._options)
        conversation = build_conversation(
            call.input,
            model=self.model,
            instructions=call.instructions,
            fetched=await _fetched(call.input) if self._options.allow_remote_images else {},
        )
        needs = (
            offers
            or bool(conversation.media)
            or bool(conversation.call_ids)  # a model without tools has no place for them
            or bool(fields.top_level.get("think"))
            or applies_to(self.model, self._options.think_tags)
        )
        abilities = await self._catalogue.abilities(self._served_as, ask=needs)
        needed = ["tools"] if offers and not self._options.tool_emulation else []
        for need in (*needed, *sorted(conversation.media)):
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
            rules=_rules(self.model, self._options, abilities),
        )
        if not self._catalogue.knows_levels(self._served_as):
            request = self._with_plain_think(request)
        self._warnings.ignored(
            [*request.ignored, *self._source.losses(request.body, request.headers)]
        )
        return request

    def _note_answer(self, request: ChatRequest, reply: Reply) -> None:
        """Warn also when the server may have cut something, because the window is full."""
        super()._note_answer(request, reply)
        window = request.body.get("options", {}).get("num_ctx")
        used = reply.usage.total_tokens
        if (
            isinstance(window, int)
            and 0 < window <= used  # -1 lets the server choose
            and request.body.get("truncate") is not False
            and reply.usage.requests == 1
        ):
            self._warnings.once(
                "window",
                f"used {used} of the {window} tokens of its window, so the beginning may have been "
                "cut; raise num_ctx.",
            )


def _rules(model: str, options: OllamaModelOptions, abilities: Abilities) -> Rules:
    """Return the rules for reading an answer that *options* and *abilities* decide."""
    thinks = "thinking" in (abilities.capabilities or ())
    return Rules(
        text_calls=applies_to(model, options.text_calls),
        think_tags=not thinks and applies_to(model, options.think_tags),
        limits="max_tokens or num_ctx",
        repairs=options.repairs,
    )


async def _fetched(items: str | list[TResponseInputItem]) -> dict[str, bytes]:
    """Return the remote images of *items* by URL."""
    if isinstance(items, str):
        return {}
    from timestep.ollama.fetched_images import fetch_images  # noqa: PLC0415 - few want it, it loads httpx

    return await fetch_images(remote_images(items))
