"""The viewer's server: read-only, on loopback, for one store."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any, cast, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from timestep.traces.errors import StoreError, UnknownTraceError
from timestep.traces.export import plain, view_diff, view_trace
from timestep.traces.queries import Filter
from timestep.traces.statistics import By
from timestep.traces.store import TraceStore
from timestep.traces.text import json_text
from timestep.traces.viewer import page

_JSON = "application/json"
_MOST_RUNS = 1000
_LOOK_SECONDS = 0.25
_HOST = "127.0.0.1"
_HOSTS = ("localhost", _HOST, "[::1]", "::1")

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def build_app(store: TraceStore, *, is_over: Callable[[], bool] = lambda: False) -> Starlette:
    """The viewer of *store* as an ASGI application; it lets go of live pages when it *is_over*.

    It answers only requests whose Host header names this machine's loopback, so that no page of
    the web can read runs through a name that resolves to 127.0.0.1.
    """
    routes = [
        Route("/", _content(page.index, "text/html")),
        Route("/style.css", _content(page.style, "text/css")),
        Route("/app.js", _content(page.script, "text/javascript")),
        Route("/api/runs", _json(lambda request: _runs(store, request))),
        Route(
            "/api/runs/{name}",
            _json(lambda request: view_trace(store.get(request.path_params["name"]))),
        ),
        Route("/api/values", _json(lambda request: store.values())),
        Route("/api/stats", _json(lambda request: _stats(store, request))),
        Route("/api/diff", _json(lambda request: _diff(store, request))),
        Route("/api/bodies/{digest}", _answer(lambda request: _body(store, request))),
        Route("/api/events", _events(store, is_over)),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)
    app.add_middleware(_SecurityHeaders)
    return app


class _SecurityHeaders:
    """Puts the security headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_guarded)


Endpoint = Callable[[Request], Awaitable[Response]]


def _answer(make: Callable[[Request], Response]) -> Endpoint:
    """An endpoint that runs *make* in a thread, and tells the store's troubles."""

    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(make, request)
        except UnknownTraceError as exc:
            return PlainTextResponse(str(exc), 404)
        except ValueError as exc:
            return PlainTextResponse(f"A parameter cannot be read: {exc}", 400)
        except StoreError as exc:
            return PlainTextResponse(str(exc), 500)

    return endpoint


def _json(make: Callable[[Request], Any]) -> Endpoint:
    # JSONResponse refuses lone surrogates; escaped, every reader takes them.
    return _answer(
        lambda request: Response(json_text(make(request), ensure_ascii=True), media_type=_JSON)
    )


def _content(make: Callable[[], str], media_type: str) -> Endpoint:
    return _answer(lambda request: Response(make(), media_type=media_type))


def _runs(store: TraceStore, request: Request) -> list[Any]:
    query = request.query_params
    limit = min(int(query.get("limit", 50)), _MOST_RUNS)
    wanted = read_filter(query)
    runs = [plain(run) for run in store.traces(wanted, limit=max(1, limit))]
    hits = store.search(wanted.text, limit=_MOST_RUNS) if wanted.text else []
    excerpts = {hit.trace_id: hit.excerpt for hit in reversed(hits)}  # the newest of each run
    return [{**run, "excerpt": excerpts.get(run["trace_id"])} for run in runs]


def read_filter(query: Mapping[str, str]) -> Filter:
    """The filter that *query* asks for, parameter by parameter."""
    values: dict[str, Any] = {}
    for field in fields(Filter):
        given = query.get(field.name)
        if given:
            values[field.name] = _READERS.get(field.name, str)(given)
    return Filter(**values)


_READERS: dict[str, Callable[[str], Any]] = {
    "failed": lambda text: text == "1",
    "running": lambda text: text == "1",
    "since": float,
    "before": float,
}


def _stats(store: TraceStore, request: Request) -> list[Any]:
    since, by = request.query_params.get("since", 0), request.query_params.get("by", "model")
    if by not in get_args(By):
        raise ValueError("by is one of model, agent, tool and day")
    return [plain(stats) for stats in store.stats(cast("By", by), since=float(since))]


def _diff(store: TraceStore, request: Request) -> Any:
    sides = [store.get(request.query_params.get(side, "")) for side in ("left", "right")]
    return view_diff(sides[0], sides[1])


def _body(store: TraceStore, request: Request) -> Response:
    return Response(
        store.body(request.path_params["digest"]),
        media_type="text/plain; charset=utf-8",
        # Opened by itself, a stored answer is neither a page nor a script.
        headers={"content-disposition": "inline"},
    )


def _events(store: TraceStore, is_over: Callable[[], bool]) -> Endpoint:
    async def stream() -> AsyncGenerator[str]:
        cursor = await run_in_threadpool(store.cursor)
        yield "retry: 1000\n\n"
        while not is_over():
            changed, cursor = await run_in_threadpool(store.runs_after, cursor)
            if changed:
                yield f"event: runs\ndata: {json_text(changed, ensure_ascii=True)}\n\n"
            await asyncio.sleep(_LOOK_SECONDS)

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(stream(), media_type="text/event-stream")

    return endpoint


def serve(store: TraceStore, port: int, *, on_start: Callable[[str], object]) -> None:
    """Serve the viewer of *store* until the process is interrupted; *on_start* gets its URL."""
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
