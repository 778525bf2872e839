"""The choices that the application made in code, through the SDK, for the whole process.

The SDK has public setters for these choices and no public getters, so this module reads them where
the SDK keeps them. It is the only one that does.
"""

from agents.models import _openai_shared as shared  # pyright: ignore[reportPrivateUsage] - see above
from openai import AsyncOpenAI


def told_client() -> AsyncOpenAI | None:
    """Return the client of `agents.set_default_openai_client`."""
    return shared.get_default_openai_client()


def told_key() -> str | None:
    """Return the key of `agents.set_default_openai_key`."""
    return shared.get_default_openai_key()


def is_told_responses() -> bool:
    """Return False after ``agents.set_default_openai_api("chat_completions")``."""
    return shared.get_use_responses_by_default()


def is_told_websocket() -> bool:
    """Return True after ``agents.set_default_openai_responses_transport("websocket")``."""
    return shared.get_default_openai_responses_transport() == "websocket"
