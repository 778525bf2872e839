"""The prompt that a server would feed the model, and what is not in it.

A server renders a prompt that it would refuse as if it fitted. So it is asked to cut: where that
leaves messages out, and not cutting brings them back, a real request would be refused.

Source: ollama ``api/types.go`` (``DebugInfo``), v0.33.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from timestep.net.json_parts import mapping
from timestep.net.origin import Origin


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """One prompt, after the model's template and the server's truncation.

    Attributes:
        text: Exactly what the model would read.
        image_count: How many images go with it.
        cut: The messages that the server left out, or would have to leave out to make the rest fit.
            The oldest comes first. Each is shown as ``"role: beginning…"``.
        tools: The names of the offered tools that are in it.
        missing_tools: The names of those that are not.
        is_refused: True when the prompt does not fit and the server was told not to cut it, so a
            real request would be refused.
    """

    text: str
    image_count: int
    cut: tuple[str, ...]
    tools: tuple[str, ...]
    missing_tools: tuple[str, ...]
    is_refused: bool = False


def render_body(body: Mapping[str, Any], *, truncate: bool) -> dict[str, Any]:
    """Return the request that asks for the prompt of *body* instead of an answer."""
    return {**body, "stream": False, "truncate": truncate, "_debug_render_only": True}


def may_be_refused(prompt: RenderedPrompt, body: Mapping[str, Any]) -> bool:
    """Return True when a message was cut from *prompt* that a cutting server would have kept."""
    # A server that cuts keeps the system messages and the last one.
    kept = {_begin(message) for message in body["messages"] if message["role"] == "system"}
    kept |= {_begin(message) for message in body["messages"][-1:]}
    return body.get("truncate") is False and not kept.issuperset(prompt.cut)


def whole_prompt(cut: RenderedPrompt, uncut: RenderedPrompt) -> RenderedPrompt:
    """Return the prompt of a request that must not be cut, of which both renderings are known."""
    refused = len(uncut.cut) < len(cut.cut)
    return replace(uncut, cut=cut.cut, is_refused=True) if refused else cut


def read_rendered(answer: Any, body: Mapping[str, Any], origin: Origin) -> RenderedPrompt:
    """Return the prompt in *answer*, compared with the *body* that asked for it."""
    info = mapping(mapping(answer).get("_debug_info"))
    text = info.get("rendered_template")
    if not isinstance(text, str):
        from timestep.errors import OllamaStreamError  # noqa: PLC0415 - it imports the SDK

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
