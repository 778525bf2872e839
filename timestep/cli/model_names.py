"""The model names worth offering, had quickly and without a word when they cannot be had."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import SettingsError

from timestep.config.schema import OllamaProviderSettings, OllamaSettings
from timestep.config.settings import Settings
from timestep.net.urls import LOCAL_OLLAMA
from timestep.ollama.names import untagged
from timestep.routing import targets

_PATIENCE = 0.5
"""Seconds that all servers have together; nobody waits longer for a key press."""


def model_names(*, config_file: str | None, env_file: str | None) -> list[str]:
    """The default, the aliases, and the models of every Ollama server that answers at once.

    No key is sent, and nothing of the SDK imported.
    """
    try:
        settings = Settings(_config_file=config_file, _env_file=env_file or ".env")
    except (ValidationError, SettingsError):
        return []
    names = targets(settings.default_model) if settings.default_model else []
    return list(dict.fromkeys([*names, *settings.aliases, *_served(settings)]))


def _served(settings: Settings) -> list[str]:
    found: list[str] = []
    servers: list[tuple[str, OllamaSettings]] = [("ollama", settings.ollama)]
    servers += [
        (prefix, table)
        for prefix, table in settings.providers.items()
        if isinstance(table, OllamaProviderSettings)
    ]
    threads: list[threading.Thread] = []
    for prefix, table in servers:
        for url in targets(table.base_url or table.host or LOCAL_OLLAMA):
            # A name look-up knows no timeout, so nobody waits for the thread to end.
            thread = threading.Thread(target=_ask, args=(prefix, url, found), daemon=True)
            thread.start()
            threads.append(thread)
    end = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return sorted(set(found))


def _ask(prefix: str, url: str, found: list[str]) -> None:
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    connect = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_PATIENCE)
    try:
        connection.request("GET", f"{parts.path}/api/tags")
        answer: Any = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return
    finally:
        connection.close()
    found += [f"{prefix}/{untagged(name)}" for name in _names(answer)]


def _names(answer: Any) -> Iterator[str]:
    models = cast("dict[str, Any]", answer).get("models") if isinstance(answer, dict) else None
    for model in cast("list[Any]", models) if isinstance(models, list) else []:
        name = cast("dict[str, Any]", model).get("name") if isinstance(model, dict) else None
        if isinstance(name, str):
            yield name
