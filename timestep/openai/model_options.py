"""The options of a model behind OpenAI's API, for the provider, the model and each request. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from timestep.net.setting_values import REPAIRS, RETRIES

StructuredOutput = Literal["json_schema", "json_object", "prompt"]


@dataclass(frozen=True, slots=True)
class ChatModelOptions:
    """How a model is asked.

    Attributes:
        structured_output: How a typed answer is asked for: by its schema, as any JSON object with the
            schema in words, or in words alone. All three are checked, and asked for again when wrong.
        include_usage: Ask for token counts.
        strict_feature_validation: Raise for what would be ignored with a warning.
        text_calls: Treat an answer that is only the JSON of a tool call as that call: True for every
            model, or a list of models.
        think_tags: Treat ``<think>…</think>`` at the start of an answer as thinking: True for every
            model, or a list of models.
        repairs: How many times a model is asked again when its answer is not the call or the JSON that
            was asked for.
        max_retries: How many times a request is repeated after a temporary failure, unless the
            settings of the call have a retry policy of their own.
        extra_body: Fields of every request; the settings of a call win.
    """

    structured_output: StructuredOutput = "json_schema"
    include_usage: bool = True
    strict_feature_validation: bool = False
    text_calls: bool | Sequence[str] = False
    think_tags: bool | Sequence[str] = False
    repairs: int = REPAIRS
    max_retries: int = RETRIES
    extra_body: dict[str, Any] = field(default_factory=dict[str, Any])
