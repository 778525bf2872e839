"""The native Ollama adapter: ``/api/chat`` as an OpenAI Agents SDK model.

The way of a request, a room a step: `endpoint` (where), `request` (the body), `wire` (the only I/O),
`lines` (the answer), `model` (the whole), `provider` (models by name). `completion` converts a single
answer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timestep.ollama.completion import to_chat_completion
    from timestep.ollama.model import OllamaModel
    from timestep.ollama.provider import OllamaModelProvider

__all__ = ["OllamaModel", "OllamaModelProvider", "to_chat_completion"]

_HOME = {
    "OllamaModel": "model",
    "OllamaModelProvider": "provider",
    "to_chat_completion": "completion",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
