"""Reads the logprobs of a server. Pure."""

from typing import Any, cast

from openai.types.responses.response_output_text import Logprob

from timestep.answer.chunks import Logprobs

_HUGE = 1e300
"""Larger than any logprob. NaN and infinity are larger too, and JSON cannot say them."""


def read_logprobs(entries: Any) -> Logprobs:
    """Return the server's logprobs. Adds the fields that openai requires and old servers leave out."""
    if not isinstance(entries, list):
        raise ValueError("logprobs")
    return [_read_logprob(entry) for entry in cast("list[Any]", entries)]


def _read_logprob(entry: Any) -> dict[str, Any]:
    match entry:
        case {"token": str(token), "logprob": int() | float() as logprob} if abs(logprob) < _HUGE:
            whole = {
                "token": token,
                "logprob": logprob,
                "bytes": entry.get("bytes") or list(token.encode()),
                "top_logprobs": read_logprobs(entry.get("top_logprobs") or []),
            }
            return Logprob.model_validate(whole).model_dump()
        case _:
            raise ValueError("logprobs")
