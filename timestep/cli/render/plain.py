"""Renders a prompt without an agent. Imports no SDK, which takes longer than the server."""

from typing import Any

from timestep.cli.context import Context
from timestep.cli.event_loop import run_without_waiting
from timestep.config.schema import OllamaSettings
from timestep.factory.endpoints import ollama_endpoints
from timestep.net.ollama_options import unknown_options
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.render import RenderedPrompt, may_be_refused, read_rendered, render_body
from timestep.ollama.server_info import connect, post
from timestep.routing import split_prefix


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
    names = context.settings.models_of(model)
    prefix, name = split_prefix(names[0]) if len(names) == 1 else (None, "")
    table = context.settings.ollama_tables.get(prefix or "")
    if table is None or not name.strip() or name != name.strip():
        return None
    endpoints = ollama_endpoints(context.settings)[prefix or ""]
    options = {k: v for k, v in table.options_of(name, prefix or "").items() if v is not None}
    if table.timeout is not None or endpoints.pool or unknown_options(options):
        return None
    endpoint = endpoints.route(name)[0]
    body = _body(endpoint.name_of(name), table, options, prompt, instructions)
    try:
        rendered = run_without_waiting(_render(endpoint, name, body))
    except Exception:  # noqa: BLE001 - render_prompt meets it again, and says what it means
        return None
    return None if rendered is None else (name, rendered)


def _body(
    name: str,
    table: OllamaSettings,
    options: dict[str, Any],
    prompt: str,
    instructions: str | None,
) -> dict[str, Any]:
    """Return the body that `OllamaModel` would send."""
    messages = [("system", instructions)] if instructions else []
    body: dict[str, Any] = {
        "model": name,
        "truncate": table.on_context_overflow == "truncate",
        "messages": [
            {"role": role, "content": text} for role, text in [*messages, ("user", prompt)]
        ],
    }
    if table.keep_alive is not None:
        body["keep_alive"] = table.keep_alive
    if options:
        body["options"] = options
    return body


async def _render(endpoint: Endpoint, name: str, body: dict[str, Any]) -> RenderedPrompt | None:
    async with connect(endpoint) as client:
        answer = await post(client, "/api/chat", render_body(body, truncate=True))
    if "_debug_info" not in answer:
        return None
    rendered = read_rendered(answer, body, endpoint.origin(name))
    return None if may_be_refused(rendered, body) else rendered
