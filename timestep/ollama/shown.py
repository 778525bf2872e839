"""What an Ollama server says about its models, whatever it sends. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from timestep.net.json_parts import entries, mapping


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the list of ``/api/tags``, or of ``/api/ps``. None means that it does not say."""

    name: str
    capabilities: tuple[str, ...] | None = None
    size: int | None = None  # in bytes
    context_length: int | None = None  # in tokens, as allocated; only in ``/api/ps``


@dataclass(frozen=True, slots=True)
class Shown:
    """What ``/api/show`` says about a model. None means that it does not say."""

    capabilities: tuple[str, ...] | None
    context_length: int | None  # the most tokens that it takes
    ignores_format: bool


def read_list(document: object) -> list[Listed]:
    """Return the models in *document*; one without a name is left out."""
    models = map(mapping, entries(mapping(document).get("models")))
    return [
        Listed(
            name,
            _capabilities(model),
            count(model.get("size")),
            count(model.get("context_length")),
        )
        for model in models
        if (name := text(model, "model", "name"))
    ]


def read_shown(document: object) -> Shown:
    """Return what *document* says about a model."""
    model = mapping(document)
    info = mapping(model.get("model_info"))
    is_remote = text(model, "remote_host", "remote_model") is not None
    # MLX models ignore "format". Source: ollama x/mlxrunner/client.go, v0.33.0.
    is_mlx = mapping(model.get("details")).get("format") == "safetensors"
    length = info.get(f"{info.get('general.architecture')}.context_length")
    return Shown(_capabilities(model), count(length), is_remote or is_mlx)


def text(document: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of *names* in *document* that is text and not empty."""
    values = map(document.get, names)
    return next((value for value in values if isinstance(value, str) and value), None)


def count(value: object) -> int | None:
    """Return *value* if it counts something, as Go does: true is no number, and 0 says nothing."""
    return value if type(value) is int and 0 < value < 2**63 else None


def _capabilities(model: Mapping[str, Any]) -> tuple[str, ...] | None:
    # Servers before 0.6.4 list none, which says nothing about the model.
    if not isinstance(model.get("capabilities"), list):
        return None
    return tuple(each for each in entries(model.get("capabilities")) if isinstance(each, str))
