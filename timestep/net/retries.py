"""Whether a client may repeat a failed request itself.

The SDK has a context variable for it, which its own models and gateways obey. It has no public name,
so this is the only module that uses it; our models ask here too.
"""

from contextlib import AbstractContextManager

from agents.models._retry_runtime import (  # pyright: ignore[reportPrivateUsage] - see above
    provider_managed_retries_disabled,
    should_disable_provider_managed_retries,
)


def may_retry() -> bool:
    """Return False inside `without_retries`, and when the SDK repeats requests itself."""
    return not should_disable_provider_managed_retries()


def without_retries() -> AbstractContextManager[None]:
    """Keep clients from repeating what is requested in this context."""
    return provider_managed_retries_disabled(True)
