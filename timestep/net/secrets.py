"""What is secret in headers and texts, and how it is masked. Pure.

Two things are secret: the keys and headers that somebody configured, which are known exactly, and
whatever looks like a key of a well-known service, which patterns find.

A header's value is secret as a whole and in each of its parts, because a server may repeat only
one of them: ``Cookie: session=SECRET; theme=dark`` makes ``session=SECRET`` and ``SECRET`` secret.
So is the password in ``Basic …``, which a server may have decoded.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable
from urllib.parse import unquote, urlencode, urlsplit

T = TypeVar("T")

MASK = "***"
"""Stands in an error where a secret was."""

SHORTEST = 6
"""A shorter text may be in a sentence by chance, so it is not masked."""

SHORTEST_KEY = 4
"""The same for the credentials of a request, unless they are a word of letters only."""

_PRIVATE = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
_PLAIN = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "host",
        "http-referer",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "origin",
        "referer",
        "user-agent",
        "x-title",
    }
)
"""Headers that say who asks for what. An answer may hold the same words."""

_PLAIN_PREFIX = "x-stainless-"
"""Begins the headers in which OpenAI's client describes itself."""

_SCHEMES = frozenset({"apikey", "basic", "bearer", "digest", "negotiate", "token"})
PLACEHOLDERS = frozenset({"lm-studio", "not-needed", "ollama"})
"""What people write where a client wants a key and the server does not."""

_SHORTEST_IN_URL = 16
_WORDS = re.compile(r"[a-z]{1,12}(?:[-_.][a-z]{1,12})*")
_SEPARATORS = re.compile(r"[\s;,|&]+")
_NAME_ENDS = re.compile("[=:]")
_BRACKETS = "\"'<>()[]{}"

KEY_BOUNDARY = r"(?:\b|(?<=\\[nrt]))"
"""Where a key begins. JSON may hold it behind ``\\n``, whose letter ``n`` belongs to no word."""

_RUN = r"(?:(?<![A-Za-z0-9_-])(?!(?<=\\)[nrt])|(?<=\\[nrt]))"

KEY_PATTERNS: tuple[tuple[tuple[str, ...], str], ...] = (
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
        r"\b(?:gsk|xai|r8|hf|pplx|nvapi|fw|glpat|npm|pypi|dop_v1|tvly)[-_][A-Za-z0-9_-]{16,}",
    ),
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}",
    ),
    (("xox",), r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    (("AIza",), r"\bAIza[A-Za-z0-9_-]{30,}"),
    (("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    (  # a JSON Web Token, with what it is glued to
        (".eyJ",),
        _RUN + r"(?>[A-Za-z0-9_-]*?eyJ)[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]+",
    ),
    (("earer ", "EARER "), r"\b(?:[Bb]earer|BEARER) [A-Za-z0-9._~+/=-]{16,}"),
    (("://",), r"(?<=://)[^\s/:@\"'\\]++:[^\s/@\"'\\]++(?=@)"),  # credentials in a URL
    (
        ("PRIVATE KEY-----",),
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
            # Python before 3.11.5 matches a possessive group wrongly, and an atomic one rightly.
            r"(?>(?:[^\"-]|-(?!----))*)-----END [A-Z ]*PRIVATE KEY-----"
        ),
    ),
)
"""What keys of well-known services look like, each with texts of which every match holds one.

A model or a tool chooses the text that is searched, so no text may make a search slow: what one
attempt reads before it fails is not read again by many others. Looking for the short texts first
costs next to nothing.
"""

OLLAMA_KEY = r"\b[0-9a-f]{32}\.[A-Za-z0-9_-]{20,}"
"""What a key of ollama.com looks like. No short text is part of every match."""


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in request *headers*, the longest first."""
    found = {
        secret for name, value in headers.items() for secret in _secrets_of(name.lower(), value)
    }
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def _secrets_of(name: str, value: str) -> Iterator[str]:
    if name in _PLAIN or name.startswith(_PLAIN_PREFIX):
        return
    shortest = SHORTEST
    if name.endswith("authorization"):
        shortest = SHORTEST_KEY
    for part in (*_parts(_without_scheme(value)), _password_in(value)):
        if is_secret(part, shortest=shortest):
            yield part


def _without_scheme(value: str) -> str:
    """Return the credentials in *value*; a server may leave the scheme out.

    A word such as ``Bearer`` is a scheme only before credentials. Alone it is the secret itself.
    """
    scheme, _, credentials = value.strip().partition(" ")
    return credentials.strip() if scheme.lower() in _SCHEMES and credentials else value


def _parts(value: str) -> Iterator[str]:
    """Yield *value*, each of its words, and of ``name=word`` and ``name:word`` the word as well.

    A name that is a plain word, such as ``session``, is no secret: a record is full of them.
    """
    yield value.strip()
    for word in _SEPARATORS.split(value):
        *names, last = (part.strip(_BRACKETS) for part in _NAME_ENDS.split(word))
        odd = [name for name in names if not _WORDS.fullmatch(name.lower())]
        yield from (last, *odd)
        if last or any(odd):
            yield word.strip(_BRACKETS)
            yield word.partition("=")[2].strip(_BRACKETS)


def _password_in(value: str) -> str:
    """Return the password in the credentials ``Basic …``; empty for any other *value*."""
    scheme, _, credentials = value.strip().partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials.strip()).decode().partition(":")[2]
    except ValueError:  # it is not base64, or no text
        return ""


def secrets_in_url(url: str) -> tuple[str, ...]:
    """Return the parts of the path and the query of *url* that may be a key, the longest first.

    Some gateways take the key there. Short parts and plain words, such as ``compatible-mode``, are
    not keys. The password before the host is one too.
    """
    parts = urlsplit(url)
    password = parts.password or ""
    texts = [*parts.path.split("/"), *(each.partition("=")[2] for each in parts.query.split("&"))]
    keys = [t for t in texts if len(t) >= _SHORTEST_IN_URL and not _WORDS.fullmatch(t)]
    keys += filter(is_secret, [password])
    found = {each for key in keys for each in (key, unquote(key))}
    return tuple(sorted(found, key=lambda secret: (-len(secret), secret)))


def secrets_in_query(query: Mapping[str, object]) -> tuple[str, ...]:
    """Return the values of *query* that may be a key, the longest first."""
    return secrets_in_url(f"?{urlencode(query, doseq=True)}") if query else ()


def is_secret(text: str, *, shortest: int = SHORTEST) -> bool:
    """Return whether *text*, which stands where a secret does, must be masked.

    Words of letters only need `SHORTEST` characters whatever *shortest* is: a shorter one stands
    in any sentence.
    """
    if len(text) < shortest or text.lower() in PLACEHOLDERS:
        return False
    return len(text) >= SHORTEST or not text.isalpha()


def without_private(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with names in lower case and without cookies and credentials."""
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in lowered.items() if name not in _PRIVATE}


@dataclass(frozen=True, slots=True)
class Unshown(Generic[T]):
    """Keeps *value* out of crash reports, which show the ``repr`` of variables."""

    value: T = field(repr=False)


def masker(secrets: Iterable[str], mask: str = MASK) -> Callable[[str], str]:
    """Return a function that puts *mask* in the place of each of *secrets* in a text."""
    longest_first = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def masked(text: str) -> str:
        for secret in longest_first:
            text = text.replace(secret, mask)
        return text

    return masked


def masked_json(value: object, mask: Callable[[str], str]) -> object:
    """Return the JSON *value* with *mask* applied to each of its texts, names of members too."""
    match value:
        case str():
            return mask(value)
        case list():
            return [masked_json(each, mask) for each in cast("list[object]", value)]
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return {mask(name): masked_json(each, mask) for name, each in pairs}
        case _:
            return value


@runtime_checkable
class _Secret(Protocol):
    """A `pydantic.Secret`, which this module does not import: a reader of traces needs none."""

    def get_secret_value(self) -> object: ...


def configured_keys(settings: object) -> list[str]:
    """Return every secret in *settings*, or a part of them, to keep it out of files and logs.

    These are all keys, the parts of URLs and queries that may be a key, and the values of headers.
    Headers that never hold a secret, such as ``Accept``, and texts of fewer than six characters are
    left out.
    """
    return list(dict.fromkeys(filter(is_secret, _keys_in(settings))))


def _keys_in(value: object, name: str = "") -> Iterator[str]:
    """Yield the keys in *value*, which may be the field *name* of a pydantic model."""
    match value:
        case _Secret():
            yield from _texts_in(value.get_secret_value())
        case Mapping() if name == "headers":
            yield from secrets_in(cast("Mapping[str, str]", value))
        case Mapping() if name == "query":
            yield from secrets_in_query(cast("Mapping[str, object]", value))
        case Mapping():
            for below in cast("Mapping[str, object]", value).values():
                yield from _keys_in(below)
        case _ if name.endswith("base_url"):
            for url in _texts_in(value):
                yield from secrets_in_url(url)
        case _:
            for each in getattr(type(value), "model_fields", ()):
                yield from _keys_in(getattr(value, each), each)
            yield from _keys_in(getattr(value, "model_extra", None) or {})


def _texts_in(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for below in cast("Mapping[str, object]", value).values():
                yield from _texts_in(below)
        case list() | tuple():
            for below in cast("Iterable[object]", value):
                yield from _texts_in(below)
        case _:
            pass
