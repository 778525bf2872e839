"""New ids, in the forms OpenAI's APIs use. The one place that asks for randomness."""

import secrets
import string

_ALPHABET = (string.ascii_letters + string.digits).encode()
# One random byte picks one character; the slight bias of 256 over 62 is harmless in an id.
_CHARACTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


def _random(length: int) -> str:
    return secrets.token_bytes(length).translate(_CHARACTERS).decode("ascii")


def new_call_id() -> str:
    """A tool call id: ``call_`` and 24 letters and digits."""
    return f"call_{_random(24)}"


def new_completion_id() -> str:
    """A chat completion id: ``chatcmpl-`` and 29 letters and digits."""
    return f"chatcmpl-{_random(29)}"


def new_response_id() -> str:
    """A response id: ``resp_`` and 24 letters and digits."""
    return f"resp_{_random(24)}"


def new_message_id() -> str:
    """An output message's id: ``msg_`` and 24 letters and digits."""
    return f"msg_{_random(24)}"


def new_function_call_id() -> str:
    """An output function call's item id (not its call id): ``fc_`` and 24 letters and digits."""
    return f"fc_{_random(24)}"
