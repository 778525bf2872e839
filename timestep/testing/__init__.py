"""Real, scripted servers for tests, of Ollama's API and of OpenAI's: no model, no GPU, no network."""

from timestep.testing.assertions import (
    assert_answer_contains,
    assert_guardrail_triggered,
    assert_handoff,
    assert_no_errors,
    assert_tokens_below,
    assert_tool_called,
    assert_tool_not_called,
    assert_tools_called,
)
from timestep.testing.catalog import Model
from timestep.testing.errors import (
    FakeServerError,
    InvalidRequest,
    UnconsumedReplies,
    UnexpectedRequest,
)
from timestep.testing.faults import Close, ErrorLine, Fault, NoDone, Reset, Split, Stall
from timestep.testing.http import Request
from timestep.testing.loopback import Disconnect
from timestep.testing.openai.replies import ChatReply
from timestep.testing.openai.server import FakeOpenAI
from timestep.testing.recordings import Recording
from timestep.testing.replies import Reply
from timestep.testing.server import FakeOllama

__all__ = [
    "ChatReply",
    "Close",
    "Disconnect",
    "ErrorLine",
    "FakeOllama",
    "FakeOpenAI",
    "FakeServerError",
    "Fault",
    "InvalidRequest",
    "Model",
    "NoDone",
    "Recording",
    "Reply",
    "Request",
    "Reset",
    "Split",
    "Stall",
    "UnconsumedReplies",
    "UnexpectedRequest",
    "assert_answer_contains",
    "assert_guardrail_triggered",
    "assert_handoff",
    "assert_no_errors",
    "assert_tokens_below",
    "assert_tool_called",
    "assert_tool_not_called",
    "assert_tools_called",
]
