"""Everything that is imported is declared, and everything that is declared is imported."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {
    "aiohttp-socks": {"aiohttp_socks"},
    "genai-prices": {"genai_prices"},
    "httpx[socks]": {"httpx"},
    "markdown-it-py": {"markdown_it"},
    "openai-agents": {"agents"},
    "openai-agents[any-llm]": {"agents"},
    "openai-agents[litellm]": {"agents"},
    "opentelemetry-exporter-otlp-proto-http": {"opentelemetry"},
    "opentelemetry-sdk": {"opentelemetry"},
    "pydantic-core": {"pydantic_core"},
    "pydantic-settings": {"pydantic_settings"},
    "python-dotenv": {"dotenv"},
    "restate-sdk": {"restate"},
    "temporalio-openai-agents": {"temporalio"},
}
"""The modules of packages that are not called by their name."""
FOR_USERS = ("any-llm", "litellm", "otel", "prices", "ray", "restate", "socks", "temporal", "web")
"""The extras that bring what the package itself imports."""


def imported():
    found = {}
    for path in (ROOT / "timestep").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], path.name)
    return {name for name in found if name not in sys.stdlib_module_names} - {"timestep"}


def declared():
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(line for name in FOR_USERS for line in extras[name])]
    names = {re.split(r"[<>=!~; ]", line, maxsplit=1)[0] for line in wanted}
    return {name: MODULES.get(name, {name}) for name in names}


def test_everything_imported_is_declared():
    # pytest itself loads the plug-in that imports it.
    assert imported() - {"pytest"} <= set().union(*declared().values())


def test_everything_declared_is_imported():
    used = imported()
    assert {name for name, modules in declared().items() if not modules & used} == set()
