"""The errors of one exchange, in the words of the wire that owns it. Pure."""

from abc import ABC, abstractmethod

from timestep.errors import OllamaConnectionError, OllamaTimeoutError, TimestepError
from timestep.net.connection import Answer, Silence, TransportError, as_cause
from timestep.net.origin import Origin


class WireErrors(ABC):
    """Makes the errors of one exchange. A wire says the next steps."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    @abstractmethod
    def refused(self, answer: Answer, body: bytes) -> TimestepError:
        """Return the error for an *answer* without success, with the start of its *body*."""

    def of(self, exc: TransportError, *, connect_seconds: float | None = None) -> TimestepError:
        """Return the error for *exc*, whose cause says what was behind it."""
        error: TimestepError
        match exc.phase:
            case "connect":
                error = self.silent("connect", connect_seconds, through=exc.through)
            case "first_byte" | "idle" as phase:
                error = self.silent(phase, None)
            case "length":
                error = self.endless(str(exc))
            case _:
                error = self.failed(exc)
        error.__cause__ = as_cause(exc)
        return error

    def silent(
        self, phase: Silence, seconds: float | None, *, through: str = ""
    ) -> OllamaTimeoutError:
        """Return the error for silence in *phase*.

        *through* names the proxy that did not connect; it is empty without one.
        """
        host = self._origin.host
        within, during = (f" {word} {seconds:g} s" if seconds else "" for word in ("within", "for"))
        said: dict[Silence, str] = {
            "connect": f"No connection to {host}{within}{through and f' ({through})'}.",
            "first_byte": f"{host} did not begin its answer{within}.",
            "idle": f"{host} fell silent in the middle of its answer{during}.",
        }
        step = self._step_after(phase, is_proxied=bool(through))
        return self._timeout(f"{said[phase]} {step}", phase, seconds)

    def failed(self, exc: TransportError) -> OllamaConnectionError:
        """Return the error for a request that did not get through."""
        return self._connection(self._failure(exc, self._origin.clean(str(exc))))

    @abstractmethod
    def endless(self, what: str) -> TimestepError:
        """Return the error for an answer that is too long; *what* says how long, after the host."""

    def cut_off(self) -> OllamaConnectionError:
        """Return the error for an exchange whose provider or event loop was closed."""
        return self._connection(
            f"The request to {self._origin.host} was cut off: its provider or its event loop was "
            "closed. Close them when all runs are done."
        )

    @abstractmethod
    def _step_after(self, phase: Silence, *, is_proxied: bool) -> str:
        """Return the next step after silence in *phase*."""

    @abstractmethod
    def _failure(self, exc: TransportError, reason: str) -> str:
        """Return what happened and the next step, for *exc* without silence."""

    @abstractmethod
    def _timeout(self, text: str, phase: Silence, seconds: float | None) -> OllamaTimeoutError:
        """Return the error whose message is *text*."""

    @abstractmethod
    def _connection(self, text: str) -> OllamaConnectionError:
        """Return the error whose message is *text*."""
