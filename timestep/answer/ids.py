"""Makes ids in the forms of OpenAI's APIs. Only here is randomness used."""

import re
import secrets
import string
from collections.abc import Callable

_ALPHABET = (string.ascii_letters + string.digits).encode()
# One random byte picks one character; the slight bias of 256 over 62 is harmless in an id.
_CHARACTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
CALL_ID = re.compile(r"call_[A-Za-z0-9_-]{1,59}")
"""OpenAI's form of a call id, of at most 64 characters."""
ANY_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The call ids of other servers, which want them back unchanged."""


def claim_call_id(
    call_id: object, used: set[str], new: Callable[[], str], form: re.Pattern[str] = CALL_ID
) -> str:
    """Return *call_id* if it has the *form* and is not *used*, or a *new* one. Mark it as used."""
    claimed = call_id if isinstance(call_id, str) and form.fullmatch(call_id) else new()
    if claimed in used:
        claimed = new()
    used.add(claimed)
    return claimed


def _random(length: int) -> str:
    return secrets.token_bytes(length).translate(_CHARACTERS).decode("ascii")


def new_call_id() -> str:
    """Return a tool call id: ``call_`` and 24 letters and digits."""
    return f"call_{_random(24)}"


def new_completion_id() -> str:
    """Return a chat completion id: ``chatcmpl-`` and 29 letters and digits."""
    return f"chatcmpl-{_random(29)}"


def new_response_id() -> str:
    """Return a response id: ``resp_`` and 24 letters and digits."""
    return f"resp_{_random(24)}"


def new_message_id() -> str:
    """Return an output message's id: ``msg_`` and 24 letters and digits."""
    return f"msg_{_random(24)}"


def new_function_call_id() -> str:
    """Return an output function call's item id (not its call id): ``fc_`` and 24 letters and digits."""
    return f"fc_{_random(24)}"
