"""Renders a prompt without an agent. Imports no SDK, which takes longer than the server."""

from typing import TYPE_CHECKING, Any, NamedTuple

from timestep.cli.context import Context
from timestep.cli.event_loop import run_without_waiting
from timestep.config.schema import OllamaSettings
from timestep.factory.endpoints import ollama_endpoints
from timestep.net.options import unknown_options
from timestep.ollama.about import connect, render
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.render import RenderedPrompt, may_be_refused, read_rendered, render_body
from timestep.routing import split_prefix

if TYPE_CHECKING:
    from timestep.config.settings import Settings


class _Asked(NamedTuple):
    """One model, where it is and how it is asked."""

    name: str
    endpoint: Endpoint
    table: OllamaSettings
    options: dict[str, Any]


def render_plain(
    context: Context, prompt: str, model: str | None, instructions: str | None
) -> tuple[str, RenderedPrompt] | None:
    """Return what `render_prompt` returns for these arguments and no agent.

    None means that only `render_prompt` can tell: there are several models or servers, the
    settings need the SDK, something would be warned about, or the server did not answer well.
    """
    if context.needs_sdk:
        return None
    context.check_endpoints()
    asked = _find(context.settings, model)
    if asked is None:
        return None
    try:
        rendered = run_without_waiting(_render(asked, _body(asked, prompt, instructions)))
    except Exception:  # noqa: BLE001 - render_prompt meets it again, and says what it means
        return None
    return None if rendered is None else (asked.name, rendered)


def _find(settings: "Settings", model: str | None) -> _Asked | None:
    names = settings.models_of(model)
    if len(names) != 1:
        return None
    prefix, name = split_prefix(names[0])
    if prefix is None or not name.strip() or name != name.strip():
        return None
    table = settings.tables.get(prefix)
    if not isinstance(table, OllamaSettings) or table.timeout is not None:
        return None
    endpoints = ollama_endpoints(settings).get(prefix)
    options = {k: v for k, v in table.options_of(name, prefix).items() if v is not None}
    if endpoints is None or endpoints.pool or unknown_options(options):
        return None
    return _Asked(name, endpoints.route(name)[0], table, options)


def _body(asked: _Asked, prompt: str, instructions: str | None) -> dict[str, Any]:
    """Return the body that `OllamaModel` would send."""
    table = asked.table
    messages = [("system", instructions)] if instructions else []
    body: dict[str, Any] = {
        "model": asked.endpoint.name_of(asked.name),
        "truncate": table.on_context_overflow == "truncate",
        "messages": [
            {"role": role, "content": text} for role, text in [*messages, ("user", prompt)]
        ],
    }
    if table.keep_alive is not None:
        body["keep_alive"] = table.keep_alive
    if asked.options:
        body["options"] = asked.options
    return body


async def _render(asked: _Asked, body: dict[str, Any]) -> RenderedPrompt | None:
    async with connect(asked.endpoint) as client:
        answer = await render(client, render_body(body, truncate=True))
    if "_debug_info" not in answer:
        return None
    rendered = read_rendered(answer, body, asked.endpoint.origin(asked.name))
    return None if may_be_refused(rendered, body) else rendered
