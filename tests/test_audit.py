"""`scripts/audit` fails for a known vulnerability, and only a missing network excuses it."""

import shutil
import subprocess
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / "scripts" / "audit"


@pytest.fixture
def audit(tmp_path):
    """Run the script where pip-audit says what the test lets it say."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(AUDIT, tmp_path / "scripts")
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)

    def run(said, code):
        (tmp_path / "said").write_text(said)
        for name, script in {"pip-licenses": ":", "pip-audit": f"cat said; exit {code}"}.items():
            (commands / name).write_text(f"#!/bin/sh\n{script}\n")
            (commands / name).chmod(0o755)
        return subprocess.run(
            [tmp_path / "scripts" / "audit"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


FOUND = """\
Found 1 known vulnerability in 1 package
Name      Version ID             Fix Versions
aioquic   1.0.0   PYSEC-2026-1   1.3.0
Name       Skip Reason
resolvelib Dependency not found on PyPI: the connection timed out
"""


@pytest.mark.parametrize(
    "said",
    [
        FOUND,
        FOUND.replace("1 known vulnerability", "2 known vulnerabilities"),
        FOUND + "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org')\n",
        "ERROR:pip_audit._cli:cannot resolve aioquic: no connection to its metadata\n",
        "requests.exceptions.JSONDecodeError: connection\n",
        "",
    ],
)
def test_what_is_no_missing_network_fails_with_what_was_said(audit, said):
    done = audit(said, 1)

    assert done.returncode == 1
    assert done.stdout == said


@pytest.mark.parametrize(
    "said",
    [
        "Traceback (most recent call last):\nrequests.exceptions.ProxyError: HTTPSConnectionPool()\n",
        "requests.exceptions.ConnectionError: Failed to resolve 'pypi.org'\n",
        "requests.exceptions.ReadTimeout: Read timed out.\n",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\n",
    ],
)
def test_a_missing_network_is_said_and_no_failure(audit, said):
    done = audit(said, 1)

    assert done.returncode == 0
    assert "no network" in done.stdout


def test_unknown_packages_are_counted(audit):
    done = audit("No known vulnerabilities found\nx  x could not be audited\n", 0)

    assert done.returncode == 0
    assert "1 packages could not be looked up" in done.stdout
