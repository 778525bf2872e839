"""The errors of a failed exchange with an Ollama server. Pure."""

from timestep.errors import OllamaConnectionError, OllamaError, OllamaTimeoutError
from timestep.net.connection import CHECK_PROXY, Answer, TransportError
from timestep.net.origin import Origin
from timestep.ollama.endpoint import unreached
from timestep.ollama.errors import status_error


class Failures:
    """Makes the errors of one exchange; see `timestep.net.exchange.Faults`."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def refused(self, answer: Answer, body: bytes) -> OllamaError:
        """Return the error for an *answer* without success."""
        return status_error(answer.status, answer.headers, body, self._origin)

    def silent(self, phase: str, seconds: float | None, *, through: str = "") -> OllamaTimeoutError:
        """Return the error for silence in *phase*."""
        host, limit = self._origin.host, f" within {seconds} s" if seconds else ""
        step = (
            f"{CHECK_PROXY} (timeout={{'connect': …}} waits longer.)"
            if through
            else "Is the server running and the address right? ('ollama serve' starts it; "
            "timeout={'connect': …} waits longer.)"
        )
        text = {
            "connect": f"No connection to {host}{limit}{through and f' ({through})'}. {step}",
            "first_byte": f"{host} did not begin its answer{limit}. A large model may "
            "still be loading: keep_alive keeps it loaded, timeout={'first_byte': …} waits longer.",
            "idle": f"{host} fell silent in the middle of its answer"
            f"{f' for {seconds} s' if seconds else ''}. timeout={{'idle': …}} waits longer.",
        }[phase]
        return OllamaTimeoutError(text, phase=phase, seconds=seconds, **self._origin.where())

    def failed(self, exc: TransportError) -> OllamaConnectionError:
        """Return the error for a request that did not get through."""
        host = self._origin.host
        reason = self._origin.clean(str(exc))
        match exc.phase:
            case "closed":
                text = (
                    f"The HTTP client for {host} cannot be used: {reason}. An ollama_client works "
                    "in one event loop and until it is closed; give base_url instead, and timestep "
                    "keeps a client for every loop."
                )
            case "reach":
                text = unreached(host, reason, is_proxied=bool(exc.through))
            case _:
                text = (
                    f"The connection to {host} broke: {reason}. The server or a proxy between may "
                    "have stopped; its log says more."
                )
        return OllamaConnectionError(text, **self._origin.where())

    def cut_off(self) -> OllamaConnectionError:
        """Return the error for an exchange whose provider or event loop was closed."""
        return OllamaConnectionError(
            f"The request to {self._origin.host} was cut off: its provider or its event loop was "
            "closed. Close them when all runs are done.",
            **self._origin.where(),
        )
