"""The engines' tests need a virtual environment of their own: see the extra ``engines``."""

from importlib.metadata import PackageNotFoundError, version

_NEEDS = {
    "test_temporal.py": "temporalio-openai-agents",
    "test_dbos.py": "dbos-openai-agents",
    "test_restate.py": "restate-sdk",
}


def _is_installed(package):
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


collect_ignore = [name for name, package in _NEEDS.items() if not _is_installed(package)]
