"""Which certificates are trusted."""

from functools import cache
from ssl import SSLContext


@cache
def certificates() -> SSLContext:
    """Return the trusted certificates: of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else certifi's.

    Loading them takes longer than a request, so it is done once.
    """
    import httpx  # noqa: PLC0415 - only TLS needs it; it knows where the certificates are

    return httpx.create_ssl_context()
