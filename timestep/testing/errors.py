"""What a test is told when the exchange was not what it scripted."""


class FakeOllamaError(AssertionError):
    """Base of the failures a :class:`~timestep.testing.FakeOllama` raises when it is left."""


class InvalidRequest(FakeOllamaError):  # noqa: N818 - named for what happened, as pytest reads it
    """A request that a real server refuses to decode."""


class UnexpectedRequest(FakeOllamaError):  # noqa: N818 - see InvalidRequest
    """A request for which no answer was queued."""


class UnconsumedReplies(FakeOllamaError):  # noqa: N818 - see InvalidRequest
    """Answers that nobody asked for."""
