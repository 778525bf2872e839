"""Keeps keys, and whatever else a pattern describes, out of the store. Pure.

What is looked for is looked for in the texts as people see them: JSON escapes are undone, and
the pieces of a streamed answer are joined, because a key rarely comes in one piece.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

MASK = "[redacted]"

# Each with texts one of which stands in every match: looking for those costs next to nothing.
# No pattern can match across a quote or an escape, so it may run over JSON text as well.
_KEYS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("sk-",), r"\bsk-[A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic, OpenRouter, Langfuse
    (
        (
            "gsk_",
            "xai-",
            "r8_",
            "hf_",
            "pplx-",
            "nvapi-",
            "fw_",
            "glpat-",
            "npm_",
            "pypi-",
            "dop_v1_",
            "tvly-",
        ),
        r"\b(?:gsk|xai|r8|hf|pplx|nvapi|fw|glpat|npm|tvly)[-_][A-Za-z0-9_-]{16,}",
    ),
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}",
    ),
    (("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    (("AIza",), r"\bAIza[A-Za-z0-9_-]{30,}"),
    (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    (("eyJ",), r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"),  # a JSON Web Token
    (("earer ", "EARER "), r"(?i:\bbearer )[A-Za-z0-9._~+/=-]{16,}"),
    (("://",), r"(?<=://)[^\s/:@\"'\\]+:[^\s/@\"'\\]+(?=@)"),  # credentials in a URL
    (
        ("PRIVATE KEY-----",),
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*?-----END [A-Z ]*PRIVATE KEY-----",
    ),
)
_OLLAMA_KEY = re.compile(r"\b[0-9a-f]{32}\.[A-Za-z0-9_-]{20,}")
_OLLAMA_SIGN = re.compile(r"\.[A-Za-z0-9_-]{20}")

_STREAMED = re.compile(r'"(?:content|thinking)":"((?:[^"\\]|\\.)*)"')

_STREAMED_NAMES = ("content", "thinking")


class Redaction:
    """Replaces keys and matches of *patterns* by ``[redacted]``.

    Args:
        patterns: Regular expressions, as Python's ``re`` reads them.
        secrets: Exact texts that must never be stored, such as the configured keys.

    Raises:
        ValueError: A pattern is no regular expression.
    """

    def __init__(self, patterns: Iterable[str] = (), secrets: Iterable[str] = ()) -> None:
        self._secrets = [secret for secret in secrets if secret]
        try:
            self._patterns = [re.compile(pattern) for pattern in patterns]
        except re.error as exc:
            raise ValueError(f"{exc.pattern!r} is no regular expression: {exc}.") from exc

    def text(self, text: str) -> str:
        """*text* without what must not be stored."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for pattern in (*self._patterns, *_possible_keys(text)):
            text = pattern.sub(MASK, text)
        return text

    def json(self, text: str) -> str:
        """The JSON *text* with the strings in it redacted; member names stay."""
        if not self._may_hide(text):
            return text
        return _dump(_map_strings(json.loads(text), self.text))

    def body(self, body: bytes) -> bytes:
        """The *body* of a request or answer: JSON, lines of JSON, or anything else.

        A body that holds nothing to hide stays as it is, byte for byte.
        """
        text = body.decode(errors="replace")
        if not self._may_hide(text) and not self._may_hide("".join(_STREAMED.findall(text))):
            return body
        try:
            values = [json.loads(line) for line in text.split("\n") if line.strip()]
        except ValueError:
            return self.text(text).encode()
        if not self._hides(values):
            return body
        lines = [_dump(_map_strings(value, self.text)) for value in self._join_stream(values)]
        return "\n".join(lines).encode() + (b"\n" if body.endswith(b"\n") else b"")

    def _may_hide(self, text: str) -> bool:
        """False when JSON *text* certainly holds nothing to hide.

        Patterns and secrets are looked for in decoded strings only: an escape could hide them.
        """
        if self._patterns or any(secret in text for secret in self._secrets):
            return True
        if self._secrets and "\\" in text and any(_has_escape(s) for s in self._secrets):
            return True
        return any(pattern.search(text) for pattern in _possible_keys(text))

    def _hides(self, values: list[Any]) -> bool:
        """True when a string in *values*, or a text that streams through them, is to be redacted."""
        streamed = [
            "".join(part for value in values if isinstance(part := _message(value).get(name), str))
            for name in _STREAMED_NAMES
        ]
        return any(self.text(text) != text for text in (*streamed, *_strings(values)))

    def _join_stream(self, values: list[Any]) -> list[Any]:
        """*values* with each streamed text whole in the first chunk that has a part of it.

        Only a text that has something to hide is moved: its parts cannot be cleaned one by one.
        """
        for name in _STREAMED_NAMES:
            parts = [message for value in values if name in (message := _message(value))]
            joined = "".join(part[name] for part in parts if isinstance(part[name], str))
            if len(parts) > 1 and self.text(joined) != joined:
                for part in parts:
                    part[name] = ""
                parts[0][name] = self.text(joined)
        return values


def _message(value: Any) -> dict[str, Any]:
    message = cast("dict[str, Any]", value).get("message") if isinstance(value, dict) else None
    return cast("dict[str, Any]", message) if isinstance(message, dict) else {}


def _possible_keys(text: str) -> list[re.Pattern[str]]:
    """The patterns of keys that may be in *text*."""
    found = [pattern for signs, pattern in _COMPILED_KEYS if any(sign in text for sign in signs)]
    return [*found, _OLLAMA_KEY] if _OLLAMA_SIGN.search(text) else found


_COMPILED_KEYS = [(signs, re.compile(pattern)) for signs, pattern in _KEYS]


def _has_escape(secret: str) -> bool:
    """True when JSON may write *secret* in another way."""
    return json.dumps(secret)[1:-1] != secret or "/" in secret


def _strings(value: Any) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _map_strings(value, note)
    return found


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {name: _map_strings(member, change) for name, member in members.items()}
    if isinstance(value, list):
        return [_map_strings(item, change) for item in cast("list[Any]", value)]
    return value


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
