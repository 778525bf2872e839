"""`ChatCompletionsModel`: one model of a server that speaks chat completions, as the SDK calls it."""

import asyncio
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents import AgentOutputSchemaBase, ModelSettings

from timestep.answer.call import ModelCall, WireModel
from timestep.answer.history import told_output, told_repair, with_instructions
from timestep.answer.ids import ANY_CALL_ID, Ids
from timestep.answer.rules import Repair, Rules
from timestep.answer.wire_request import WireRequest
from timestep.errors import TimestepError
from timestep.errors.retry import retry_advice
from timestep.net.model_names import applies_to
from timestep.net.origin import Origin
from timestep.net.retries import may_retry
from timestep.openai.errors import (
    OpenAIConnectionError,
    OpenAIStatusError,
    OpenAITimeoutError,
)
from timestep.openai.history import short_ids
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.request import ChatBody, Json, added_fields, chat_body
from timestep.openai.wire import ChatAnswer, ChatWire

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
"""Seconds before a retry when the server names none, as in openai's own client."""
_MOST_MOVES = 5
"""How many redirects of the server a request follows."""
_USAGE_REFUSED = re.compile(r"stream_options|include_usage", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest(WireRequest):
    """One request of ``POST /chat/completions`` and the rules for its answer."""

    query: Mapping[str, object]  # beside the endpoint's own
    retries: int = 0  # how many times it may be sent again after a failure that passes
    moves: int = _MOST_MOVES  # how many more redirects it may follow


class ChatCompletionsModel(WireModel[ChatRequest]):
    """One model of a server that speaks chat completions.

    The wire always streams; a server that answers whole is read all the same.
    """

    def __init__(
        self,
        model: str,  # the name the server knows the model by
        wire: ChatWire,  # the connections to the server
        options: ChatModelOptions | None = None,  # how the model is asked
        *,
        settings: ModelSettings | None = None,  # for what a call leaves out
    ) -> None:
        self._options = options or ChatModelOptions()
        super().__init__(
            model,
            kind="Model",
            implementation="timestep.openai",
            ids=Ids(form=ANY_CALL_ID),
            strict=self._options.strict_feature_validation,
            settings=settings,
        )
        self._wire = wire
        self._has_short_ids = wire.endpoint.wants_short_call_ids

    @property
    def _host(self) -> str:
        return self._wire.host

    def _origin(self, request: ChatRequest) -> Origin:
        return self._wire.origin(self.model, request.headers, request.query)

    async def _prepare(self, call: ModelCall) -> ChatRequest:
        self._warnings.ignored([f"{name} (the server keeps no state)" for name in call.state])
        if call.output is not None and call.output.is_plain_text():
            call = replace(call, output=None)
        endpoint, options = self._wire.endpoint, self._options
        made = chat_body(
            call,
            model=self.model,
            base_url=endpoint.base_url,
            include_usage=options.include_usage and not self._wire.refuses_stream_options,
        )
        self._warnings.ignored(made.ignored)
        body = {**added_fields(options.extra_body, call.settings), **made.body}
        if call.output is not None:
            body = self._with_format(body, call.output)
        if self._has_short_ids:
            body["messages"] = short_ids(body["messages"])
        return ChatRequest(
            body=body,
            headers=made.headers,
            query=made.query,
            rules=self._rules(call, made),
            retries=options.max_retries if call.settings.retry is None and may_retry() else 0,
            ignored=made.ignored,
        )

    def _with_format(self, body: Json, output: AgentOutputSchemaBase) -> Json:
        """Return *body* with the typed answer asked for as the options say."""
        how = self._options.structured_output
        if how == "json_schema":
            return body
        words = told_output(output)
        body = {**body, "messages": with_instructions(body["messages"], words)}
        if how == "json_object":
            return {**body, "response_format": {"type": "json_object"}}
        body.pop("response_format", None)
        return body

    def _rules(self, call: ModelCall, made: ChatBody) -> Rules:
        settings, options = call.settings, self._options
        return Rules(
            output=call.output,
            call_ids=made.call_ids,
            text_calls=applies_to(self.model, options.text_calls),
            think_tags=applies_to(self.model, options.think_tags),
            token_limit=f"max_tokens={settings.max_tokens}" if settings.max_tokens else "",
            repairs=options.repairs,
        ).chosen(settings, [function["name"] for function in _functions(made.body)])

    def _ask(self, request: ChatRequest) -> ChatAnswer:
        return self._wire.chat(request.body, request.headers, request.query, self.model)

    async def _instead(self, request: ChatRequest, error: TimestepError) -> ChatRequest:
        if (without := self._without_usage(request, error)) is not None:
            return without
        if request.moves and isinstance(error, OpenAIStatusError) and self._wire.follow(error):
            return replace(request, moves=request.moves - 1)
        advice = retry_advice(error)
        if request.retries and _is_retried(error) and advice is not None and advice.suggested:
            tried = self._options.max_retries - request.retries
            backoff = min(_FIRST_WAIT * 2**tried, _LONGEST_WAIT) * random.uniform(0.75, 1)  # noqa: S311 - not a secret
            await asyncio.sleep(backoff if advice.retry_after is None else advice.retry_after)
            return replace(request, retries=request.retries - 1)
        raise error from error.__cause__

    def _without_usage(self, request: ChatRequest, error: TimestepError) -> ChatRequest | None:
        """Return *request* without the question for usage, when the server refused that."""
        if (
            not isinstance(error, OpenAIStatusError)
            or "stream_options" not in request.body
            or error.status_code not in {400, 422}
            or not _USAGE_REFUSED.search(error.server_message)
        ):
            return None
        self._wire.refuses_stream_options = True
        self._warnings.once(
            "usage", "runs on a server that cannot say how many tokens a stream used."
        )
        body = {name: value for name, value in request.body.items() if name != "stream_options"}
        return replace(request, body=body)

    def _repaired(self, request: ChatRequest, bad: Repair) -> ChatRequest:
        messages = list(request.messages)
        if bad.answer:
            messages.append({"role": "assistant", "content": bad.answer})
        words = told_repair(bad, request.rules.tools, _schema(request, bad))
        messages.append({"role": "user", "content": words})
        body = {**request.body, "messages": messages}
        if not bad.wants_call:
            body = {name: value for name, value in body.items() if name not in _TOOL_FIELDS}
        return replace(request, body=body, rules=request.rules.repaired(bad))


def _is_retried(error: TimestepError) -> bool:
    """True for the failures that openai's own client retries: of the connection, or by a status."""
    if isinstance(error, OpenAIStatusError):
        return not error.came_late
    return isinstance(error, OpenAIConnectionError | OpenAITimeoutError)


_TOOL_FIELDS = {"tools", "tool_choice", "parallel_tool_calls"}


def _functions(body: Json) -> list[Json]:
    """The functions on offer in *body*. The tools of a server, which ``extra_body`` adds, are others."""
    return [tool["function"] for tool in body.get("tools", []) if "function" in tool]


def _schema(request: ChatRequest, bad: Repair) -> Json:
    """The schema that a repair shows: of the answer, or of a call."""
    if request.rules.output is not None and not bad.wants_call:
        return request.rules.output.json_schema()
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": tool["name"]},
                    "arguments": tool["parameters"],
                },
                "required": ["name", "arguments"],
            }
            for tool in _functions(request.body)
        ]
    }
