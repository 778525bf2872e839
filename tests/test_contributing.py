"""The worked examples of CONTRIBUTING.md name the files that the examples are really in."""

import re
import tomllib
from pathlib import Path
from typing import get_type_hints

import pytest

import timestep
from timestep.config.kinds import KINDS
from timestep.config.schema import OllamaSettings
from timestep.factory.providers import build
from timestep.ollama.model_options import OllamaKeywords, OllamaModelOptions

PACKAGE = Path(timestep.__file__).parent
ROOT = PACKAGE.parent


def files_of(title):
    """The modules that the numbered steps below the heading *title* name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    steps = re.findall(r"^\d\. `(timestep/[\w/]+\.py)`", section, re.MULTILINE)
    assert len(steps) == len(re.findall(r"^\d\. ", section, re.MULTILINE))
    return set(steps)


def files_with(pattern):
    """The modules with code that matches *pattern*; prose and messages do not count."""
    return {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.py")
        if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    }


def test_an_ollama_setting_is_in_the_files_that_the_guide_lists():
    code = r"^ +allow_remote_images: bool|options\.allow_remote_images"

    assert files_with(code) == files_of("Add an Ollama setting")


def test_a_provider_kind_is_in_the_files_that_the_guide_lists():
    code = r"[\"']any-llm[\"']|any_llm[\"_]|^def build_gateway"

    assert files_with(code) == files_of("Add a provider kind")


@pytest.mark.parametrize("name", sorted(get_type_hints(OllamaKeywords)))
def test_a_setting_of_a_model_has_one_name_and_one_default(name):
    assert name in OllamaSettings.model_fields
    assert getattr(OllamaModelOptions.of(), name) == (
        getattr(OllamaModelOptions.of(**{name: getattr(OllamaSettings(), name)}), name)
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_kind_has_a_builder_a_table_and_an_extra(kind):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    table = kind.table(kind=kind.name, base_url="http://localhost:1/v1")
    assert type(build("lab", table)).__module__.startswith("timestep.")
    assert kind.table.__doc__
    assert {"base_url", "api_key", "kind"} <= set(kind.table.model_fields)
    assert kind.package is None or kind.name in extras["optional-dependencies"]
