"""What a setting may be: the types of values, with the checks behind them. Pure."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    Tag,
)

from timestep.net.headers import check_not_framing, is_header_name
from timestep.net.urls import check_base_url, parse_ollama_host
from timestep.routing import FallbackReason


def _check_key(key: SecretStr | None) -> SecretStr | None:
    """*key* without the line break a copy brings along; an empty one is none."""
    text = key.get_secret_value().strip() if key else ""
    if not text:
        return None
    if not (text.isascii() and text.isprintable()):
        raise ValueError(
            "the key holds a line break or a character that is not ASCII; copy it again"
        )
    return SecretStr(text)


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not is_header_name(name):
            raise ValueError(f"{name!r} is no header name; write one such as X-Title")
        check_not_framing(name)
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the value of {name!r} holds a line break or is not ASCII")
    return headers


def _hide_headers(headers: dict[str, str]) -> dict[str, SecretStr]:
    return {name: SecretStr(value) for name, value in headers.items()}


def _check_pattern(pattern: str) -> str:
    try:
        is_useless = re.compile(pattern).search("") is not None
    except re.error as exc:
        reason = re.sub(r"'.*'|\".*\"", "…", str(exc))  # which repeats names of the pattern
        raise ValueError(f"this is no regular expression: {reason}") from None
    if is_useless:
        raise ValueError("this pattern matches nothing at all, and so everywhere")
    return pattern


def _check_path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path has no null byte; write it anew")
    try:
        path.expanduser()
    except RuntimeError:
        raise ValueError("the home directory cannot be found; write the whole path") from None
    return path


def _check_ollama_url(url: str) -> str:
    return check_base_url(url, ollama=True)


def _split(value: object) -> object:
    """*value*, where text with commas is a list: a variable has no other."""
    if not isinstance(value, str) or "," not in value:
        return value
    if value.lstrip().startswith("["):
        raise ValueError('this begins as a JSON list and is none; write ["a", "b"], or a, b')
    return [part.strip() for part in value.split(",") if part.strip()]


def _split_always(value: object) -> object:
    """As `_split`, where text without a comma is a list of one."""
    parts = _split(value)
    return [parts] if isinstance(parts, str) else parts


def _check_keep_alive(value: object) -> object:
    """*value* with text that is a number made one: Ollama reads ``"300"`` as no duration."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('write a duration such as "10m", seconds as a number, or -1 for ever')
    if isinstance(value, int | float):
        return value
    text = value.strip()
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+", text):
        return text
    raise ValueError('write a duration such as "10m", seconds as a number, or -1 for ever')


def _check_provider_name(name: str) -> str:
    is_plain = name.isprintable() and not {" ", "/"} & set(name)
    if not name or not is_plain or name != name.lower():
        near = re.sub(r"[^\w.-]+", "-", name.lower()).strip("-") or "groq"
        raise ValueError(
            f"{name!r} cannot be a prefix: it is lower case, not empty, and has neither slash nor "
            f"space; write [providers.{near}]"
        )
    return name


def _check_alias(name: str) -> str:
    if not name or name != name.strip():
        raise ValueError(
            'an alias has a name without spaces around it, as in fast = "ollama/qwen3:4b"'
        )
    return name


def _tag_of_list(value: object) -> str:
    return ":list" if isinstance(value, list | tuple) else ":name"


Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
ApiKey: TypeAlias = Annotated[SecretStr | None, AfterValidator(_check_key)]
# Header values are often keys; they stay plain text for use and are masked when printed.
Headers: TypeAlias = Annotated[
    dict[str, str],
    AfterValidator(_check_headers),
    PlainSerializer(_hide_headers, return_type=dict[str, SecretStr]),
]
ApiUrl: TypeAlias = Annotated[str, AfterValidator(check_base_url)]
OllamaUrl: TypeAlias = Annotated[str, AfterValidator(_check_ollama_url)]
OllamaUrls: TypeAlias = Annotated[
    Annotated[OllamaUrl, Tag(":name")]
    | Annotated[list[OllamaUrl], Field(min_length=1), Tag(":list")],
    Discriminator(_tag_of_list),
    BeforeValidator(_split),
]
OllamaHost: TypeAlias = Annotated[str, AfterValidator(parse_ollama_host)]
KeepAlive: TypeAlias = Annotated[str | int | float, BeforeValidator(_check_keep_alive)]
Options: TypeAlias = dict[str, Any]
Alias: TypeAlias = Annotated[
    Annotated[Name, Tag(":name")] | Annotated[list[Name], Field(min_length=1), Tag(":list")],
    Discriminator(_tag_of_list),
    BeforeValidator(_split),
]
Reasons: TypeAlias = Annotated[list[FallbackReason], BeforeValidator(_split_always)]
ProviderName: TypeAlias = Annotated[str, AfterValidator(_check_provider_name)]
AliasName: TypeAlias = Annotated[str, AfterValidator(_check_alias)]
Pattern: TypeAlias = Annotated[str, AfterValidator(_check_pattern)]
FilePath: TypeAlias = Annotated[Path, AfterValidator(_check_path)]
