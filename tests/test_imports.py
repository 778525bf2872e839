"""What a statement must not import, by name: what is not imported costs nothing."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import timestep

ROOT = Path(timestep.__file__).parents[1]


def imported(statement, *, after="pass"):
    """The modules that *statement* imports in a fresh interpreter, *after* another one."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
{after}
before = set(sys.modules)
{statement}
print(*(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_timestep_imports_nothing_but_itself():
    roots = {name.partition(".")[0] for name in imported("import timestep")}

    assert roots <= {"timestep", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        (
            "from timestep import MultiModelProvider; MultiModelProvider()",
            {"aiohttp", "httpx", "ollama", "pydantic_settings", "timestep.ollama.model"},
        ),
        (
            "from timestep import OllamaModelProvider; OllamaModelProvider().get_model('m')",
            {"aiohttp", "httpx", "ollama", "pydantic_settings"},
        ),
        (
            "from timestep import TimestepError",
            {"aiohttp", "httpx", "ollama", "pydantic_settings", "timestep.ollama"},
        ),
    ],
)
def test_beside_agents_only_what_is_used_is_imported(statement, forbidden):
    new = imported(statement, after="import agents")

    assert "timestep" in new
    assert not new & forbidden


def test_a_call_imports_one_http_library():
    call = """
import asyncio
from agents import Agent, RunConfig, Runner
from timestep import OllamaModelProvider
from timestep.testing import FakeOllama
with FakeOllama() as fake:
    fake.reply("hello")
    agent = Agent("a", model=OllamaModelProvider(base_url=fake.url).get_model("m"))
    asyncio.run(Runner.run(agent, "hi", run_config=RunConfig(tracing_disabled=True)))
"""
    new = imported(call, after="import agents")

    assert {"timestep.ollama.model", "timestep.net.http"} <= new
    assert not new & {"httpcore", "httpx", "ollama", "aiohttp_socks"}


def imports_of(path: Path) -> set[str]:
    """Return the modules that the module at *path* imports, inside functions and for types too."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = (node for node in nodes if isinstance(node, ast.ImportFrom))
    named = ((str(node.module), alias.name) for node in found for alias in node.names)
    return {
        inside if (inside := f"{module}.{name}") in MODULES else module for module, name in named
    }


PACKAGE = Path(timestep.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def test_no_modules_import_each_other():
    graph = {module: imports_of(path) for module, path in MODULES.items()}

    assert graph["timestep.ollama.model"] >= {"timestep.ollama.source", "timestep.answer.reply"}
    graphlib.TopologicalSorter(graph).prepare()
