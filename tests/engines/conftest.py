"""The engines' tests need a virtual environment of their own: see the extra ``engines``."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.engines.servers import SOON, free_port, listens, wait_for

_NEEDS = {
    "test_temporal.py": "temporalio-openai-agents",
    "test_dbos.py": "dbos-openai-agents",
    "test_restate.py": "hypercorn",
    "test_ray.py": "ray",
    "test_page.py": "hypercorn",
}


def _is_installed(package):
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


collect_ignore = [name for name, package in _NEEDS.items() if not _is_installed(package)]


@pytest.fixture(scope="session")
def temporal(tmp_path_factory):
    """Where a server of Temporal's listens, with its records in a file."""
    port = free_port()
    command = [Path(sys.executable).with_name("temporal"), "server", "start-dev", "--headless"]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "never"]
    command += ["--db-filename", tmp_path_factory.mktemp("temporal") / "records.db"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        address = f"127.0.0.1:{port}"
        asyncio.run(_listens(address))
        yield address
        server.terminate()


async def _listens(address):
    from temporalio.client import Client  # noqa: PLC0415 - other environments lack it

    end = time.monotonic() + SOON
    while True:
        try:
            return await Client.connect(address)
        except RuntimeError:
            assert time.monotonic() < end, "Temporal's server does not listen"
            await asyncio.sleep(0.1)


@pytest.fixture(scope="session")
def restate_server(tmp_path_factory):
    """The URLs of a Restate server: where it is called, and where it is administered."""
    binary = shutil.which("restate-server")
    assert binary, "put restate-server into PATH; npm has it as @restatedev/restate-server"
    ingress, admin, node = free_port(), free_port(), free_port()
    environment = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": "127.0.0.1",
        "RESTATE_ADVERTISED_HOST": "127.0.0.1",
        "RESTATE_BIND_PORT": str(node),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_BASE_DIR": str(tmp_path_factory.mktemp("restate")),
        "RESTATE_LOG_FILTER": "error",
    }
    with subprocess.Popen([binary, "--no-logo"], env=environment) as process:
        wait_for("Restate's server", lambda: listens(ingress) and listens(admin))
        yield f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}"
        process.terminate()
