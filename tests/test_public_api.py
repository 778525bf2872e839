import os
import subprocess
import sys
from pathlib import Path

import pytest

import timestep


def output(code):
    """What *code* prints in a fresh interpreter."""
    root = str(Path(timestep.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_public_names_are_sorted_and_importable():
    assert timestep.__all__ == sorted(timestep.__all__)
    for name in timestep.__all__:
        assert getattr(timestep, name).__name__ == name


def test_dir_lists_the_public_names():
    assert set(dir(timestep)) >= {*timestep.__all__, "__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'timestep' has no attribute 'Nothing'"):
        _ = timestep.Nothing


@pytest.mark.parametrize(
    "statement",
    [
        "import timestep",
        "import timestep.config.settings",
        "import timestep.routing, timestep.config.provenance, timestep.config.starter, timestep.net.urls",
        "from timestep import Settings; Settings()",
        "from timestep.config.settings import load_settings; load_settings()",
    ],
)
def test_settings_load_without_agents_openai_and_ollama(statement):
    code = f"import sys; {statement}; print(*{{'agents', 'openai', 'ollama'}} & set(sys.modules))"

    assert output(code) == []


def test_importing_timestep_loads_nothing_of_it():
    code = "import sys, timestep; print(*[m for m in sys.modules if m.startswith('timestep')])"

    assert output(code) == ["timestep"]
