"""An agent behind HTTP, with Starlette: ``uvicorn web_service:app``, in this directory.

POST /ask answers with JSON, and POST /stream with the text as it arrives. FastAPI takes the same
lifespan, exception handlers and responses. A failure before the first word is a status code.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents import Agent, RunConfig, Runner
from agents.result import RunResultStreaming
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from timestep import (
    ContextWindowExceededError,
    ModelOutputError,
    MultiModelProvider,
    OllamaConnectionError,
    OllamaTimeoutError,
    RateLimitError,
    ServerBusyError,
    TimestepError,
    UnsupportedInputError,
)

# The first that fits counts. Keys and names of models are ours to mend, so the rest is 500.
STATUS: list[tuple[type[TimestepError], int]] = [
    (ContextWindowExceededError, 413),
    (UnsupportedInputError, 422),
    (RateLimitError, 429),
    (ModelOutputError, 502),
    (ServerBusyError, 503),
    (OllamaConnectionError, 503),
    (OllamaTimeoutError, 504),
]

agent = Agent("Assistant", "Answer in one sentence.")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Make one provider for each worker, in the worker: connections are not for sharing."""
    app.state.provider = MultiModelProvider.from_env()
    yield
    await app.state.provider.aclose()


def config(request: Request) -> RunConfig:
    return RunConfig(model_provider=request.app.state.provider)


async def question(request: Request) -> str:
    try:
        return str((await request.json())["question"])
    except (KeyError, TypeError, ValueError) as exc:
        raise HTTPException(400, 'Send JSON such as {"question": "Where is Oslo?"}') from exc


async def ask(request: Request) -> Response:
    result = await Runner.run(agent, await question(request), run_config=config(request))
    return JSONResponse({"answer": result.final_output})


async def stream(request: Request) -> Response:
    result = Runner.run_streamed(agent, await question(request), run_config=config(request))
    words = text_of(result)
    first = await anext(words, "")  # raises here what fails before the first word
    return StreamingResponse(rest_of(first, words, result), media_type="text/plain")


async def text_of(result: RunResultStreaming) -> AsyncIterator[str]:
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            yield event.data.delta


async def rest_of(
    first: str, words: AsyncIterator[str], result: RunResultStreaming
) -> AsyncIterator[str]:
    try:
        yield first
        async for word in words:
            yield word
    finally:
        result.cancel()  # a browser that leaves stops the model


async def explain(_: Request, error: Exception) -> Response:
    status = next((status for cls, status in STATUS if isinstance(error, cls)), 500)
    seconds = getattr(error, "retry_after", None)
    headers = {} if seconds is None else {"Retry-After": str(max(1, round(seconds)))}
    # The message names servers and next steps: it is for the log, not for strangers.
    return JSONResponse({"error": type(error).__name__}, status, headers)


app = Starlette(
    routes=[Route("/ask", ask, methods=["POST"]), Route("/stream", stream, methods=["POST"])],
    exception_handlers={TimestepError: explain},
    lifespan=lifespan,
)
