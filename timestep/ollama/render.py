"""The prompt a server would feed the model, as it says itself, and what it cut away.

Source: ollama ``api/types.go`` (``DebugInfo``), v0.33.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from timestep.errors import OllamaStreamError
from timestep.net.origin import Origin


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """One prompt, after the model's template and the server's truncation.

    Attributes:
        text: Exactly what the model would read.
        image_count: How many images go with it.
        cut: The messages whose content is not in it, oldest first, as ``"role: beginning…"``.
        tools: The names of the offered tools that are in it.
        missing_tools: The names of those that are not.
    """

    text: str
    image_count: int
    cut: tuple[str, ...]
    tools: tuple[str, ...]
    missing_tools: tuple[str, ...]


def render_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request that asks for the prompt of *body* instead of an answer."""
    return {**body, "stream": False, "_debug_render_only": True}


def read_rendered(answer: Any, body: Mapping[str, Any], origin: Origin) -> RenderedPrompt:
    """The prompt in *answer*, compared with the *body* that asked for it.

    Raises:
        OllamaStreamError: The server rendered nothing, as Ollama Cloud and old servers do.
    """
    info = _object(_object(answer).get("_debug_info"))
    text = info.get("rendered_template")
    if not isinstance(text, str):
        raise OllamaStreamError(
            f"{origin.host} does not show the prompt of {origin.model!r}: it answered without "
            "_debug_info. Ollama Cloud and servers before 0.11.5 cannot; ask a local server.",
            **origin.where(),
        )
    count = info.get("image_count")
    offered = [tool["function"]["name"] for tool in body.get("tools", [])]
    return RenderedPrompt(
        text=text,
        image_count=count if isinstance(count, int) else 0,
        cut=tuple(_begin(message) for message in body["messages"] if _is_cut(message, text)),
        tools=tuple(name for name in offered if name in text),
        missing_tools=tuple(name for name in offered if name not in text),
    )


def _is_cut(message: Mapping[str, Any], prompt: str) -> bool:
    content = message["content"].strip()
    return bool(content) and content not in prompt


def _begin(message: Mapping[str, Any]) -> str:
    words = " ".join(message["content"].split())
    return f"{message['role']}: {words if len(words) <= 60 else f'{words[:60]}…'}"  # noqa: PLR2004 - a line's worth


def _object(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
