"""Call ids on the chat-completions wire. Pure."""

import hashlib
import re
from typing import Any

_NINE = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS = 9


def short_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *messages* with call ids of nine letters and digits, the only ones that Mistral takes.

    Equal ids stay equal, and ids that have this form already stay as they are.
    """
    return [_short_message(message) for message in messages]


def _short_message(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_call_id" in message:
        return {**message, "tool_call_id": short_id(message["tool_call_id"])}
    if calls := message.get("tool_calls"):
        return {**message, "tool_calls": [{**call, "id": short_id(call["id"])} for call in calls]}
    return message


def short_id(call_id: str) -> str:
    """Return *call_id* as nine letters and digits."""
    if _NINE.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:_LETTERS]
