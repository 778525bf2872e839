"""The list of models that an OpenAI API has: ``GET /models``.

It is asked over httpx and not with OpenAI's client, which takes a second to import.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import httpx

from timestep.net.httpx_options import httpx_options
from timestep.net.urls import authority
from timestep.openai.endpoint import OpenAIEndpoint

if TYPE_CHECKING:
    from timestep.errors import TimestepError


async def list_models(endpoint: OpenAIEndpoint) -> list[Mapping[str, Any]]:
    """Return what ``GET /models`` at *endpoint* answers: an ``id`` each, and what the server adds."""
    options = httpx_options(endpoint.base_url, endpoint.reach, key_command=endpoint.key_command)
    async with httpx.AsyncClient(timeout=endpoint.timeout, **options) as client:
        answer = await client.get(
            f"{endpoint.base_url}/models", params=endpoint.query, headers=endpoint.sent_headers
        )
    if not answer.is_success:
        raise _refused(answer)
    document: Any = answer.json()
    if isinstance(document, dict):
        document = cast("dict[str, Any]", document).get("data")
    entries = cast("list[Any]", document) if isinstance(document, list) else [document]
    if not all(map(_has_id, entries)):
        raise ValueError(
            f"{authority(endpoint.base_url)} answered with something other than a list of models"
        )
    return entries


def _refused(answer: httpx.Response) -> "TimestepError":
    from timestep.openai.server_errors import status_error  # noqa: PLC0415 - it imports OpenAI's client
    from timestep.openai.wire_errors import origin_of  # noqa: PLC0415 - as above

    origin = origin_of(answer.request)
    return status_error(answer.status_code, answer.headers, answer.content, origin)


def _has_id(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(cast("dict[str, Any]", entry).get("id"), str)
