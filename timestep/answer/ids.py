"""Makes ids in the forms of OpenAI's APIs. Only here is randomness used."""

import re
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass

_ALPHABET = (string.ascii_letters + string.digits).encode()
# One random byte picks one character; the slight bias of 256 over 62 is harmless in an id.
_CHARACTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
CALL_ID = re.compile(r"call_[A-Za-z0-9_-]{1,59}")
"""OpenAI's form of a call id, of at most 64 characters."""
ANY_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The call ids of other servers, which want them back unchanged."""


def new_id(prefix: str) -> str:
    """Return a new id: *prefix*, ``_``, and 24 letters and digits."""
    return f"{prefix}_{_random(24)}"


def new_completion_id() -> str:
    """Return a chat completion id: ``chatcmpl-`` and 29 letters and digits."""
    return f"chatcmpl-{_random(29)}"


def _random(length: int) -> str:
    return secrets.token_bytes(length).translate(_CHARACTERS).decode("ascii")


@dataclass(frozen=True, slots=True)
class Ids:
    """Where new ids come from."""

    new: Callable[[str], str] = new_id  # makes one, from its prefix
    form: re.Pattern[str] = CALL_ID  # the form of the server's call ids that are kept

    def claim(self, call_id: object, used: set[str]) -> str:
        """Return *call_id* if it has the form and is not *used*, or a new one. Mark it as used."""
        is_kept = isinstance(call_id, str) and self.form.fullmatch(call_id) and call_id not in used
        claimed = str(call_id) if is_kept else self.new("call")
        used.add(claimed)
        return claimed
