"""What a failed exchange with Ollama becomes: an error of the tree. Pure."""

from timestep.errors import (
    OllamaConnectionError,
    OllamaError,
    OllamaStreamError,
    OllamaTimeoutError,
)
from timestep.net.connection import CHECK_PROXY, Answer, Silence, TransportError
from timestep.net.wire_errors import WireErrors
from timestep.ollama.endpoint import unreached
from timestep.ollama.server_errors import status_error


class OllamaWireErrors(WireErrors):
    """The errors of one exchange with Ollama."""

    def refused(self, answer: Answer, body: bytes) -> OllamaError:
        """Return the error for an *answer* without success."""
        return status_error(answer.status, answer.headers, body, self._origin)

    def endless(self, what: str) -> OllamaStreamError:
        """Return the error for an answer that is too long."""
        return OllamaStreamError(
            f"{self._origin.host} {what}. max_tokens limits the answer of a model. If this was none, "
            "is base_url the root of an Ollama server?",
            **self._origin.where(),
        )

    def _step_after(self, phase: Silence, *, is_proxied: bool) -> str:
        longer = f"timeout={{'{phase}': …}} waits longer."
        match phase:
            case "connect" if is_proxied:
                return f"{CHECK_PROXY} ({longer})"
            case "connect":
                return (
                    "Is the server running and the address right? ('ollama serve' starts it; "
                    f"{longer})"
                )
            case "first_byte":
                return f"A large model may still be loading: keep_alive keeps it loaded, {longer}"
            case "idle":
                return longer

    def _failure(self, exc: TransportError, reason: str) -> str:
        host = self._origin.host
        match exc.phase:
            case "closed":
                return (
                    f"The HTTP client for {host} cannot be used: {reason}. An ollama_client works "
                    "in one event loop and until it is closed; give base_url instead, and timestep "
                    "keeps a client for every loop."
                )
            case "reach":
                return unreached(host, reason, is_proxied=bool(exc.through))
            case _:
                return (
                    f"The connection to {host} broke: {reason}. The server or a proxy in between "
                    "may have stopped; its log says more."
                )

    def _timeout(self, text: str, phase: Silence, seconds: float | None) -> OllamaTimeoutError:
        return OllamaTimeoutError(text, phase=phase, seconds=seconds, **self._origin.where())

    def _connection(self, text: str) -> OllamaConnectionError:
        return OllamaConnectionError(text, **self._origin.where())
