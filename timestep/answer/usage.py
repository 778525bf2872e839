"""The usage of an answer, in the types of OpenAI and of the SDK. Pure."""

from functools import cache
from typing import TypeVar

import agents
from openai.types.responses import ResponseUsage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel

from timestep.answer.chunks import Usage

_Model = TypeVar("_Model", bound=BaseModel)


def sdk_usage(counts: Usage) -> agents.Usage:
    """Return *counts* in the SDK's type."""
    usage = agents.Usage(
        requests=counts.requests,
        input_tokens=counts.input_tokens,
        output_tokens=counts.output_tokens,
        total_tokens=counts.total_tokens,
    )
    if counts.cached_tokens:
        usage.input_tokens_details.cached_tokens = counts.cached_tokens
    if counts.reasoning_tokens:
        usage.output_tokens_details.reasoning_tokens = counts.reasoning_tokens
    return usage


def response_usage(counts: Usage, *, raw: bool) -> ResponseUsage:
    """Return *counts* in the type of a response. *raw* adds the provider's own figures."""
    cached, reasoning = counts.cached_tokens, counts.reasoning_tokens
    return ResponseUsage.model_validate(
        {
            "input_tokens": counts.input_tokens,
            "input_tokens_details": _zeroed(InputTokensDetails, cached_tokens=cached),
            "output_tokens": counts.output_tokens,
            "output_tokens_details": _zeroed(OutputTokensDetails, reasoning_tokens=reasoning),
            "total_tokens": counts.total_tokens,
            **(counts.figures if raw else {}),
            **({} if counts.cost is None else {"cost": counts.cost}),
        }
    )


def _zeroed(details: type[_Model], **counts: int) -> _Model:
    """Return *details* with *counts*, and 0 for other counts that newer openai requires."""
    return details.model_validate({**_zeros(details), **counts})


@cache
def _zeros(details: type[BaseModel]) -> dict[str, int]:
    return {name: 0 for name, field in details.model_fields.items() if field.is_required()}
