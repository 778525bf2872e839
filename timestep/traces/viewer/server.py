"""The viewer's server as a process runs it."""

import socket
from collections.abc import Callable

import uvicorn

from timestep.traces.store import TraceStore
from timestep.traces.viewer.app import build_app

_HOST = "127.0.0.1"


def serve(store: TraceStore, port: int, *, on_start: Callable[[str], object]) -> None:
    """Serve the viewer of *store* on loopback until the process is interrupted.

    Args:
        store: What to show.
        port: Of 127.0.0.1; 0 for a free one.
        on_start: Called with the URL once the port is bound.
    """
    with socket.create_server((_HOST, port)) as listener:
        on_start(f"http://{_HOST}:{listener.getsockname()[1]}/")
        config = uvicorn.Config(
            build_app(store, is_over=lambda: server.should_exit),
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        server.run([listener])
