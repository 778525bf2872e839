"""The rule for a regular expression of a user. Pure."""

import re


def check_pattern(pattern: str) -> str:
    """Return *pattern*, if it is a regular expression that does not match everywhere.

    Raises:
        ValueError: It is not. The message holds no part of it.
    """
    try:
        is_useless = re.compile(pattern).search("") is not None
    except re.error as exc:
        reason = re.sub(r"'.*'|\".*\"", "…", str(exc))  # repeats names of the pattern
        raise ValueError(f"this is not a regular expression: {reason}") from None
    except (RecursionError, OverflowError):
        raise ValueError("this is not a regular expression: it is nested too deep") from None
    if is_useless:
        raise ValueError("this pattern matches the empty text, so it matches everywhere")
    return pattern
