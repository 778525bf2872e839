"""Errors that tell a test how the exchange differed from its script."""


class FakeOllamaError(AssertionError):
    """Base of the errors that leaving a :class:`~timestep.testing.FakeOllama` raises."""


class InvalidRequest(FakeOllamaError):  # noqa: N818 - named for what happened, as pytest reads it
    """A real server would have refused a request."""


class UnexpectedRequest(FakeOllamaError):  # noqa: N818 - see InvalidRequest
    """A request came for which no answer was queued."""


class UnconsumedReplies(FakeOllamaError):  # noqa: N818 - see InvalidRequest
    """Queued answers were never asked for."""
