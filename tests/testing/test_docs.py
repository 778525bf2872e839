"""Every example of docs/testing.md runs."""

import asyncio
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
TITLES = [
    re.findall(r"^## (.*)$", PAGE[: PAGE.index(example)], re.MULTILINE)[-1] for example in EXAMPLES
]


@pytest.mark.parametrize("example", EXAMPLES, ids=TITLES)
def test_an_example_does_what_it_says(example, fake_ollama, fake_openai, monkeypatch):
    monkeypatch.chdir(ROOT)
    fixtures = {"fake_ollama": fake_ollama, "fake_openai": fake_openai}
    scope = {}
    exec(compile(example, "docs/testing.md", "exec"), scope)

    for name, value in scope.items():
        if name.startswith("test_"):
            run_test(value, fixtures)


def run_test(test, fixtures):
    result = test(*(fixtures[name] for name in inspect.signature(test).parameters))
    if inspect.isawaitable(result):
        asyncio.run(result)


def test_the_page_has_examples_for_all_it_can_do():
    assert len(EXAMPLES) >= 8
