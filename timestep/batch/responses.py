"""Bodies of ``/v1/responses``: read as a question, and written as an answer. Pure.

Source: openai 3.57 ``types/responses/response_create_params.py`` and ``types/responses/response.py``.
"""

from agents import ModelResponse
from openai.types.responses import ResponseOutputMessage

from timestep.batch.question import (
    BadLineError,
    Json,
    Question,
    mapping,
    objects,
    output_of,
    read_tool_choice,
    read_tools,
    refuse_stream,
    settings_of,
    text_or_none,
)

_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "top_logprobs": "top_logprobs",
    "metadata": "metadata",
    "store": "store",
    "reasoning": "reasoning",
    "truncation": "truncation",
    "include": "response_include",
    "tool_choice": "tool_choice",
    "verbosity": "verbosity",
}
"""Fields of a body and the `ModelSettings` that mean the same."""
_READ = frozenset({"model", "input", "instructions", "tools", "text", "stream"})
_CHOICES = ("auto", "required", "none")
_STATEFUL = ("previous_response_id", "conversation", "prompt", "background")


def read_responses(body: Json) -> Question:
    """The question that *body* asks."""
    refuse_stream(body)
    for name in _STATEFUL:
        if body.get(name) is not None:
            raise BadLineError(f"body.{name}: only OpenAI keeps this; write the whole input")
    asked = body.get("input")
    if not asked:
        raise BadLineError("body.input is empty")
    text = mapping(body.get("text"))
    text_format = mapping(text.get("format"))
    return Question(
        model=text_or_none(body.get("model"), "body.model"),
        instructions=text_or_none(body.get("instructions"), "body.instructions"),
        input=asked if isinstance(asked, str) else objects(asked, "body.input"),
        settings=settings_of(
            {**body, "tool_choice": read_tool_choice(body), "verbosity": text.get("verbosity")},
            _SETTINGS,
            _READ,
        ),
        tools=read_tools(body, nested=False),
        output=output_of(text_format.get("type"), text_format, "body.text.format"),
    )


def write_responses(
    response: ModelResponse, question: Question, *, answer_id: str, created: int
) -> Json:
    """Return the *response* to *question* as OpenAI's object."""
    cut = any(
        isinstance(item, ResponseOutputMessage) and item.status == "incomplete"
        for item in response.output
    )
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created,
        "model": question.model or "",
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [item.model_dump(mode="json", exclude_unset=True) for item in response.output],
        "parallel_tool_calls": question.settings.parallel_tool_calls is not False,
        "tool_choice": _written_choice(question),
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.params_json_schema,
                "strict": tool.strict_json_schema,
            }
            for tool in question.tools
        ],
        "usage": {
            "input_tokens": response.usage.input_tokens,
            "input_tokens_details": response.usage.input_tokens_details.model_dump(),
            "output_tokens": response.usage.output_tokens,
            "output_tokens_details": response.usage.output_tokens_details.model_dump(),
            "total_tokens": response.usage.total_tokens,
        },
    }


def _written_choice(question: Question) -> object:
    choice = question.settings.tool_choice or "auto"
    return choice if choice in _CHOICES else {"type": "function", "name": choice}
