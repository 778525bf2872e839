"""The models a test server has, and what it tells about them.

Source: server/routes.go (ShowHandler, ListHandler, PsHandler, PullHandler) at v0.33.0-rc2.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypedDict

from timestep.net.json_parts import mapping
from timestep.testing.errors import RefusedError

SystemMessages: TypeAlias = Literal["all", "first", "one"]
"""What a renderer does with several system messages."""

ALL_CAPABILITIES = ("completion", "tools", "thinking", "vision")
_MODIFIED = "2026-01-01T00:00:00Z"
_EXPIRES = "2026-01-01T00:05:00Z"
_DEFAULT_WINDOW = 4096
_SIZE = 2_019_377_376
_TEMPLATE = "{{ .Prompt }}"
_NO_VISION = (
    '{"error":{"code":500,"message":"image input is not supported - hint: if this is unexpected, '
    'you may need to provide the mmproj","type":"server_error"}}'
)


class ModelFields(TypedDict, total=False):
    """The keywords of ``add_model``; `Model` tells what they mean."""

    capabilities: Sequence[str]
    context_length: int
    window: int
    family: str
    size: int
    parameters: Mapping[str, Any]
    system: str
    system_messages: SystemMessages
    think_levels: bool
    needs_types: bool


@dataclass(frozen=True)
class Model:
    """A model that the server has.

    Attributes:
        name: As ``ollama list`` shows it; without a tag it is ``:latest``.
        capabilities: Of ``completion``, ``tools``, ``thinking``, ``vision``, ``embedding``, ….
        context_length: The training context in tokens.
        window: The context that is allocated when a request sets no ``num_ctx``.
        family: The architecture; the prefix of the keys in ``model_info``.
        size: In bytes.
        parameters: The Modelfile's parameters.
        system: The Modelfile's system prompt.
        system_messages: What the renderer does with several system messages. ``"all"``: it takes
            them all. ``"first"``: it drops all except the first, as for cogito and olmo3.
            ``"one"``: the server answers 500 unless there is exactly one, as for qwen3.8 on 0.32.13.
        think_levels: Whether ``think`` may be a level; before 0.17.7 only gpt-oss took one.
        needs_types: Whether the template fails for a property without a type, as old ones of
            gpt-oss do.
    """

    name: str
    capabilities: Sequence[str] = ALL_CAPABILITIES
    context_length: int = 40960
    window: int = _DEFAULT_WINDOW
    family: str = "llama"
    size: int = _SIZE
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    system: str = ""
    system_messages: SystemMessages = "all"
    think_levels: bool = True
    needs_types: bool = False

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def details(self) -> dict[str, Any]:
        """The object under ``details``."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": "4.0B",
            "quantization_level": "Q4_K_M",
        }

    def show(self) -> dict[str, Any]:
        """Return the answer of ``/api/show``."""
        name = shortest(self.name)
        lines = [f"{name:<30} {value}" for name, value in self.parameters.items()]
        return {
            "modelfile": f"FROM {name}\nTEMPLATE {_TEMPLATE}\n",
            **({"parameters": "\n".join(lines)} if lines else {}),
            "template": _TEMPLATE,
            **({"system": self.system} if self.system else {}),
            "details": self.details,
            "model_info": {
                "general.architecture": self.family,
                f"{self.family}.context_length": self.context_length,
                f"{self.family}.embedding_length": 3072,
            },
            "capabilities": list(self.capabilities),
            "modified_at": _MODIFIED,
        }

    def listed(self) -> dict[str, Any]:
        """Return the entry in ``/api/tags``."""
        details = {"context_length": self.context_length, "embedding_length": 3072}
        entry = self._entry(modified_at=_MODIFIED)
        return {
            **entry,
            "details": {**self.details, **details},
            "capabilities": list(self.capabilities),
        }

    def running(self, window: int) -> dict[str, Any]:
        """Return the entry in ``/api/ps``, with *window* tokens of context allocated."""
        more = {"expires_at": _EXPIRES, "size_vram": self.size, "context_length": window}
        return {**self._entry(), "details": self.details, **more}

    def _entry(self, **more: Any) -> dict[str, Any]:
        name = shortest(self.name)
        return {"name": name, "model": name, **more, "size": self.size, "digest": self.digest}


class Catalog:
    """The models of one server.

    Until a model is added, every name is a model that can do everything.
    """

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._windows: dict[str, int] = {}

    def add(self, model: Model) -> None:
        """Have *model*; from now on only added ones exist."""
        name = shortest(model.name).lower()
        others = {known: other for known, other in self._models.items() if known != name}
        self._models = {name: model} | others  # the newest first

    def pull(self, name: str) -> Iterator[dict[str, Any]]:
        """Return the progress of pulling *name*; the server has it afterwards."""
        model = Model(name)
        layer = {
            "status": f"pulling {model.digest[:12]}",
            "digest": f"sha256:{model.digest}",
            "total": model.size,
        }
        yield {"status": "pulling manifest"}
        yield layer
        yield {**layer, "completed": model.size // 2}
        yield {**layer, "completed": model.size}
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        if self._models and shortest(name).lower() not in self._models:
            self.add(model)
        yield {"status": "success"}

    def find(self, name: str, *, shown: str | None = None) -> Model:
        """Return the model called *name*."""
        key = shortest(name).lower()
        if not self._models:
            return Model(name)
        if key not in self._models:
            raise RefusedError(404, f"model '{shown or name}' not found")
        return self._models[key]

    def load(self, model: Model, num_ctx: int | None) -> int:
        """Allocate *num_ctx* tokens of context, or the model's own default; returns how many."""
        window = min(model.window if num_ctx is None else num_ctx, model.context_length)
        self._windows[shortest(model.name).lower()] = window
        return window

    def unload(self, model: Model) -> None:
        """Free *model*'s memory."""
        self._windows.pop(shortest(model.name).lower(), None)

    def tags(self) -> dict[str, Any]:
        """Return the answer of ``/api/tags``: newest first."""
        return {"models": [model.listed() for model in self._models.values()]}

    def ps(self) -> dict[str, Any]:
        """Return the answer of ``/api/ps``."""
        return {
            "models": [self.find(name).running(window) for name, window in self._windows.items()]
        }


def check_template(model: Model, chat: Mapping[str, Any]) -> None:
    """Raise a `RefusedError` unless the template of *model* can render *chat*."""
    if model.system_messages == "one" and len(_systems(chat["messages"])) > 1:
        raise RefusedError(500, "template: :1:2: executing: System message must be the only one")
    properties = [p for tool in chat.get("tools") or () for p in properties_of(tool).values()]
    if model.needs_types and not all(mapping(schema).get("type") for schema in properties):
        raise RefusedError(
            500,
            "template: :75:34: executing: error calling index: reflect: slice index out of range",
        )


def properties_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of *tool* by name."""
    parameters = mapping(mapping(tool.get("function")).get("parameters"))
    return mapping(parameters.get("properties"))


def rendered_messages(
    model: Model, messages: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Return those of *messages* that the renderer of *model* puts into the prompt."""
    if model.system_messages != "first":
        return messages
    dropped = _systems(messages)[1:]
    return [message for index, message in enumerate(messages) if index not in dropped]


def _systems(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    roles = [str(message.get("role")).lower() for message in messages]
    return [index for index, role in enumerate(roles) if role == "system"]


def check_capabilities(model: Model, chat: Mapping[str, Any]) -> None:
    """Raise a `RefusedError` unless *model* can do what *chat* asks for."""
    if isinstance(chat.get("think"), str) and not model.think_levels:
        raise RefusedError(400, f'think value "{chat["think"]}" is not supported for this model')
    if chat.get("think") not in (None, False) and "thinking" not in model.capabilities:
        raise RefusedError(400, f'"{chat["model"]}" does not support thinking')
    if "completion" not in model.capabilities:
        raise RefusedError(400, f'"{chat["model"]}" does not support chat')
    if chat.get("tools") and "tools" not in model.capabilities:
        raise RefusedError(400, f"{full(model.name)} does not support tools")


def check_images(model: Model, messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise a `RefusedError` unless *model* can see what *messages* show."""
    if "vision" not in model.capabilities and count_images(messages):
        raise RefusedError(500, _NO_VISION)


def count_images(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return how many images there are in *messages*."""
    return sum(len(message.get("images") or ()) for message in messages)


def full(name: str) -> str:
    """Return *name* with host, namespace and tag."""
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    default = ["registry.ollama.ai", "library"]
    parts = path.split("/")
    return "/".join([*default[: max(0, 3 - len(parts))], *parts]) + f":{tag}"


def shortest(name: str) -> str:
    """Return *name* with its tag, without the default host and namespace."""
    return full(name).removeprefix("registry.ollama.ai/").removeprefix("library/")
