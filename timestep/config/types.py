"""The types of settings. Each calls the one rule for its values. Pure."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    Tag,
    ValidationError,
)
from pydantic_core import InitErrorDetails

from timestep.config.provenance import dotted
from timestep.net.headers import check_account, check_headers, check_key
from timestep.net.ollama_options import WrongEntryError, check_options
from timestep.net.proxies import parse_proxy
from timestep.net.setting_values import (
    MOST_REPAIRS,
    MOST_RETRIES,
    check_concurrency,
    check_for_models,
    check_keep_alive,
    check_pattern,
    check_repairs,
    check_retries,
    split_commas,
)
from timestep.net.timeouts import Seconds as StrictSeconds
from timestep.net.unresolved import check_read
from timestep.net.urls import (
    check_base_url,
    check_ollama_urls,
    check_websocket_url,
    parse_ollama_host,
)
from timestep.routing import check_alias, check_prefix, check_target


def _check_secret(key: object) -> SecretStr | None:
    text = check_key(key.get_secret_value() if isinstance(key, SecretStr) else key)
    return SecretStr(text) if text else None


_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def read_number(value: object) -> object:
    """Return the number that text spells, as that of a variable does; anything else as it is."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip()):
        return value
    return float(value) if {".", "e", "E"} & set(value) else int(value)


def read_numbers(table: object) -> object:
    """Return *table* with every text that spells a number read as one."""
    if not isinstance(table, Mapping):
        return table
    return {name: read_number(value) for name, value in cast("Mapping[str, object]", table).items()}


def _check_proxy(proxy: SecretStr | None) -> SecretStr | None:
    if proxy is not None:
        parse_proxy("this", proxy.get_secret_value())
    return proxy


def _check_path(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("a path cannot contain a null byte; remove it")
    try:
        path.expanduser()
    except RuntimeError:
        raise ValueError("the home directory cannot be found; write the whole path") from None
    return path


def _check_model(table: dict[str, Any]) -> dict[str, Any]:
    """Return *table*, if it holds Ollama options, and ``settings`` as a table."""
    settings = table.get("settings", {})
    if not isinstance(settings, Mapping):
        raise WrongEntryError("settings", "must be a table, as in settings = { temperature = 0.2 }")
    options = {name: value for name, value in table.items() if name != "settings"}
    return {**check_options(options), **({"settings": settings} if settings else {})}


def split_always(value: object) -> object:
    """Return the parts of text, where text without a comma is a list of one."""
    parts = split_commas(value)
    return [parts] if isinstance(parts, str) else parts


def _check_name(name: str) -> str:
    check_read(name, "this", but={"url"})
    return name


def _check_provider_name(name: str) -> str:
    """Return *name*, if it can be a prefix. It is lower case, because a variable has no case."""
    near = re.sub(r"[^\w.-]+", "-", name.lower()).strip("-") or "groq"
    advice = f"write [{dotted(('providers', near))}]"
    try:
        check_prefix(name)
    except ValueError as exc:
        raise ValueError(f"{exc}; {advice}") from None
    if name != name.lower():
        raise ValueError(f"{name!r} cannot be a prefix: it has capital letters; {advice}")
    return name


def tag_of(value: object) -> str:
    """Return the form of *value*, which tells the arms of a union apart."""
    if isinstance(value, Mapping | BaseModel):
        return ":table"
    return ":list" if isinstance(value, list | tuple) else ":name"


def _read_models(value: object) -> object:
    """Return what *value* says about models, with the text of a variable read."""
    word = value.strip().lower() if isinstance(value, str) else None
    return _WORDS[word] if word in _WORDS else check_for_models(split_always(value))


_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

Seconds: TypeAlias = Annotated[StrictSeconds, BeforeValidator(read_number)]
Name: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_check_name)
]
Account: TypeAlias = Annotated[Name, AfterValidator(check_account)]
ApiKey: TypeAlias = Annotated[SecretStr | None, BeforeValidator(_check_secret)]
# Header values are often keys; they stay plain text for use and are masked when printed.
Headers: TypeAlias = Annotated[
    dict[str, str],
    BeforeValidator(check_headers),
    PlainSerializer(
        lambda headers: {name: SecretStr(value) for name, value in headers.items()},
        return_type=dict[str, SecretStr],
    ),
]
ApiUrl: TypeAlias = Annotated[str, BeforeValidator(check_base_url)]
WebsocketUrl: TypeAlias = Annotated[str, BeforeValidator(check_websocket_url)]
OllamaUrl: TypeAlias = Annotated[str, BeforeValidator(partial(check_base_url, ollama=True))]
OllamaUrls: TypeAlias = Annotated[
    Annotated[OllamaUrl, Tag(":name")]
    | Annotated[
        list[OllamaUrl], Field(min_length=1), AfterValidator(check_ollama_urls), Tag(":list")
    ],
    Discriminator(tag_of),
    BeforeValidator(split_commas),
]
Repairs: TypeAlias = Annotated[
    int, Field(ge=0, le=MOST_REPAIRS), BeforeValidator(check_repairs), BeforeValidator(read_number)
]
Concurrency: TypeAlias = Annotated[
    int, Field(ge=1), BeforeValidator(check_concurrency), BeforeValidator(read_number)
]
Retries: TypeAlias = Annotated[
    int, Field(ge=0, le=MOST_RETRIES), BeforeValidator(check_retries), BeforeValidator(read_number)
]
# For all models, for none, or for those that are named.
ForModels: TypeAlias = Annotated[
    Annotated[bool, Tag(":name")] | Annotated[list[Name], Tag(":list")],
    Discriminator(tag_of),
    BeforeValidator(_read_models),
]
OllamaHost: TypeAlias = Annotated[str, BeforeValidator(parse_ollama_host)]
KeepAlive: TypeAlias = Annotated[str | int | float, BeforeValidator(check_keep_alive)]
Options: TypeAlias = Annotated[dict[str, Any], AfterValidator(check_options)]
OllamaModelTable: TypeAlias = Annotated[dict[str, Any], AfterValidator(_check_model)]
# check_target says everything that can be wrong; the constraints are for the JSON schema.
Target: TypeAlias = Annotated[
    Name | Annotated[list[Name], Field(min_length=1)], BeforeValidator(check_target)
]
ProviderName: TypeAlias = Annotated[str, AfterValidator(_check_provider_name)]
AliasName: TypeAlias = Annotated[str, AfterValidator(check_alias)]
Pattern: TypeAlias = Annotated[str, AfterValidator(check_pattern)]
FilePath: TypeAlias = Annotated[Path, AfterValidator(_check_path)]
KeyCommandLine: TypeAlias = Annotated[
    list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)
]
ClientCert: TypeAlias = Annotated[
    Annotated[FilePath, Tag(":name")]
    | Annotated[list[FilePath], Field(min_length=2, max_length=2), Tag(":list")],
    Discriminator(tag_of),
    BeforeValidator(split_commas),
]
# It may hold a password.
ProxyUrl: TypeAlias = Annotated[SecretStr | None, AfterValidator(_check_proxy)]


class Frozen:
    """Refuses assignment. Unlike pydantic, it does not repeat the value, which may be a key."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            problem: InitErrorDetails = {"type": "frozen_instance", "loc": (name,), "input": None}
            raise ValidationError.from_exception_data(
                type(self).__name__, [problem], hide_input=True
            )
        super().__setattr__(name, value)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("settings cannot be changed; build new ones, and a provider from them")


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed. It pickles, copies and compares like any other."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["FrozenDict"], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A list that cannot be changed. It pickles, copies and compares like any other."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[type["FrozenList"], tuple[list[Any]]]:
        return FrozenList, (list(self),)


def freeze(value: Any) -> Any:
    """Return *value* with every dict and list in it frozen."""
    if isinstance(value, Mapping):
        below = cast("Mapping[str, Any]", value)
        return FrozenDict({name: freeze(item) for name, item in below.items()})
    if isinstance(value, list | tuple):
        return FrozenList(map(freeze, cast("list[Any]", value)))
    return value
