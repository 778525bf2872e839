"""What a test server refuses, and errors that tell a test how the exchange differed from its script."""


class FakeServerError(AssertionError):
    """Base of the errors that leaving a test server raises."""


class InvalidRequest(FakeServerError):  # noqa: N818 - named for what happened, as pytest reads it
    """A real server would have refused a request."""


class UnexpectedRequest(FakeServerError):  # noqa: N818 - see InvalidRequest
    """A request came for which no answer was queued."""


class UnconsumedReplies(FakeServerError):  # noqa: N818 - see InvalidRequest
    """Queued answers were never asked for."""


class RefusedError(Exception):
    """A request that a real server refuses, with *status* and *error* under ``"error"``."""

    def __init__(self, status: int, error: str) -> None:
        self.status = status
        self.error = error
        super().__init__(f"{status}: {error}")
