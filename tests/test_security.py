"""Every promise of SECURITY.md is backed by a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text()
PROOFS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), PROOFS, ids=[name for _, name in PROOFS])
def test_a_proof_is_a_test(file, name):
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)

    assert name in {node.name for node in tree.body if isinstance(node, functions)}


def test_every_row_has_a_proof():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "it cannot" not in line]

    assert len(rows) > 20
    assert all("::test_" in row for row in rows)
