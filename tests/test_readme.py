"""What README.md and docs/ show is true: every block runs, and what they name exists.

That every link leads somewhere is checked by ``scripts/docs``, which builds the site.
"""

import importlib
import json
import pkgutil
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

import timestep
from timestep.cli import main
from timestep.config.settings import Settings, load_settings
from timestep.config.shape import arms_at
from timestep.config.sources.variables import SHORT_NAMES, variable_name
from timestep.testing import Reply

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# docs/testing.md has a test of its own: its blocks are tests. The Python of docs/durable.md runs on
# real engines, in tests/engines/test_page.py.
PAGES = [ROOT / "README.md", *(p for p in (ROOT / "docs").glob("*.md") if p.name != "testing.md")]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def run(self, scope):
        """Run it as Python; a traceback shows the line of the page."""
        code = "\n" * self.line + self.text
        exec(compile(code, self.page, "exec"), scope)


def blocks(*languages):
    """The blocks in *languages*, as parameters of a test."""
    found = [
        Block(page, page.read_text()[: match.start()].count("\n") + 1, match[1], match[2])
        for page in PAGES
        for match in _FENCED.finditer(page.read_text())
    ]
    return [
        pytest.param(block, id=str(block))
        for block in found
        if block.language in languages
        and (block.page.name, block.language) != ("durable.md", "python")
    ]


def pretend(request):
    """What a model could answer: a call while it has not made one, JSON where that is asked for."""
    body = request.json
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        function = body["tools"][0]["function"]
        return Reply(tool_calls=[(function["name"], example(function["parameters"]))])
    if "format" in body:
        return json.dumps(example(body["format"]))
    return "Hello!"


def example(schema):
    """A value that matches *schema*."""
    match schema.get("type"):
        case "object":
            return {name: example(below) for name, below in schema["properties"].items()}
        case "integer" | "number":
            return 1
        case "array":
            return [example(schema["items"])]
        case _:
            return "Paris"


@pytest.fixture
def servers(fake_ollama, openai_server, monkeypatch):
    """Ollama and OpenAI are the test servers, wherever a block says they are."""
    fake_ollama.reply(pretend, times=None)
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    # The one address no setting moves: that of OllamaModelProvider() without arguments.
    monkeypatch.setattr("timestep.ollama.endpoint.LOCAL_OLLAMA", fake_ollama.url)
    return fake_ollama


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block, servers, capsys, own_loop):
    block.text = block.text.replace("http://localhost:11434", servers.url)
    scope = {"__name__": "__main__"}
    block.run(scope)

    if "print(" in block.text:
        assert capsys.readouterr().out.strip()
    if "Runner" in block.text:
        assert servers.chats


@pytest.mark.parametrize("block", blocks("toml"))
def test_toml_is_a_configuration(block, monkeypatch):
    for name in re.findall(r'"env:(\w+)"', block.text):
        monkeypatch.setenv(name, "key")
    if "pyproject.toml" in block.text:
        assert '[project.entry-points."timestep.providers"]' in block.text
        return
    Path("timestep.toml").write_text(block.text)

    assert load_settings().origins


@pytest.mark.parametrize("block", blocks("dotenv"))
def test_dotenv_is_a_configuration(block):
    Path(".env").write_text(block.text)

    assert len(load_settings().origins) == len(block.text.splitlines())


@pytest.mark.parametrize("block", blocks("sh"))
def test_commands_run(block, servers, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    Path("questions.jsonl").write_text('{"id": "a", "prompt": "Say hello."}\n')
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("Hello.")
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        match words[0]:
            case "timestep":
                result = CliRunner().invoke(main, words[1:])
                assert (result.exit_code, result.output.strip() != "") == (0, True), result.output
            case "export":
                monkeypatch.setenv(*words[1].split("=", 1))
            case "python":
                assert words[1] == "-m"
                module = words[2] if "." in words[2] else f"{words[2]}.__main__"
                importlib.import_module(module).parser().parse_args(words[3:])
            case "pip" | "ollama" | "git" | "echo":
                pass  # installed by .ci/run; another program; a pipe into one above
            case unknown:
                pytest.fail(f"{block}: {unknown!r} is not checked")


def test_the_blocks_are_found():
    counts = {name: len(blocks(name)) for name in ("python", "toml", "dotenv", "sh")}

    assert counts["python"] >= 10
    assert all(counts.values())
    assert {block.values[0].language for block in blocks("", "bash", "shell", "py")} == set()


def test_every_install_line_works_in_a_clone():
    """The name on the package index is another project's."""
    told = [*PAGES, *ROOT.glob("timestep/**/*.py")]

    found = [re.findall(r"pip install [^\n&#`]*\btimestep\b", path.read_text()) for path in told]
    assert [lines for lines in found if lines] == []


def test_the_first_page_is_short():
    assert len(README.splitlines()) <= 200


def test_every_setting_on_the_first_page_exists():
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([\w.]+)` \|", README, re.MULTILINE)

    assert len(rows) == 10
    for variable, key in rows:
        path = tuple(key.split("."))
        assert arms_at(Settings, path)
        assert path == SHORT_NAMES.get(variable) or variable == variable_name(path)


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_file_a_page_names_exists(page):
    named = re.findall(r"`((?:timestep|tests|bench|examples)/[\w./-]+)`", page.read_text())

    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_class_a_page_names_exists(page):
    for name in re.findall(r"`(timestep\.[\w.]+\.[A-Z]\w+)", page.read_text()):
        assert isinstance(pkgutil.resolve_name(name), type)


def test_every_extra_is_on_the_page_about_installing():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/install.md").read_text(), re.MULTILINE)

    ours = {"bench", "dev", "docs", "engines", "test"}
    assert set(rows) == set(extras["optional-dependencies"]) - ours


def test_every_example_is_on_its_page():
    text = (ROOT / "docs/examples.md").read_text()

    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(
        re.findall(r"\[`(\w+\.py)`\]", text)
    )


def test_the_errors_are_the_package_s():
    text = (ROOT / "docs/errors.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)`", text, re.MULTILINE))

    assert listed == {name for name in timestep.__all__ if name.endswith("Error")} - {
        "TimestepError",
        "OllamaError",
    }
