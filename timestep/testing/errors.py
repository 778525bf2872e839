"""Errors that tell a test how the exchange differed from its script."""


class FakeServerError(AssertionError):
    """Base of the errors that leaving a test server raises."""


class InvalidRequest(FakeServerError):  # noqa: N818 - named for what happened, as pytest reads it
    """A real server would have refused a request."""


class UnexpectedRequest(FakeServerError):  # noqa: N818 - see InvalidRequest
    """A request came for which no answer was queued."""


class UnconsumedReplies(FakeServerError):  # noqa: N818 - see InvalidRequest
    """Queued answers were never asked for."""
