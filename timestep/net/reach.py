"""How a server is reached: the proxy, and the certificates to trust and to present."""

from dataclasses import dataclass, field
from functools import cache
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import cast

from timestep.net.proxies import Proxy, ProxyError, parse_proxy, proxy_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a server is reached. What is unset comes from the environment."""

    ca_file: str | None = None  # a PEM file of certificates to trust in addition to the usual ones
    # The PEM file of the certificate to show, with its key; or the file of the certificate and the
    # file of the key.
    client_cert: tuple[str, ...] = ()
    proxy: str | None = field(default=None, repr=False)  # a URL, instead of the variables

    def __post_init__(self) -> None:
        proxy = cast("object", self.proxy)
        if proxy is None:
            return
        try:
            parse_proxy("proxy", proxy if isinstance(proxy, str) else "")
        except ProxyError as exc:
            from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

            raise ConfigurationError(str(exc)) from exc


USUAL = Reach()
"""As the environment says."""


class CertificateError(ValueError):
    """A file of certificates cannot be used. The message names the setting and the file."""


def certificates(reach: Reach = USUAL) -> SSLContext:
    """Return the trusted certificates: of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else certifi's.

    Those of *reach* are added to them. Loading takes longer than a request, so it is done once.

    Raises:
        CertificateError: A file of *reach* cannot be read, or holds something else.
    """
    return _loaded(reach.ca_file, reach.client_cert)


def reach_for_httpx(base_url: str, reach: Reach) -> tuple[Proxy | None, SSLContext]:
    """Return the proxy and the certificates for a client of httpx or httpx2."""
    proxy = proxy_for(base_url, socks_package="socksio", chosen=reach.proxy)
    if proxy is not None and proxy.scheme == "socks4":
        raise ProxyError(
            f"{proxy.name} names a SOCKS 4 proxy, which works only for "
            "timestep's own connections to models, not for this one. Write socks5:// if the proxy speaks it."
        )
    if base_url.startswith("https:"):
        return proxy, certificates(reach)
    return proxy, SSLContext(
        PROTOCOL_TLS_CLIENT
    )  # nothing has to be trusted, and loading takes time


@cache
def _loaded(ca_file: str | None, client_cert: tuple[str, ...]) -> SSLContext:
    import httpx  # noqa: PLC0415 - only TLS needs it; it knows where the certificates are

    context = httpx.create_ssl_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as exc:  # SSLError is one
            raise CertificateError(_unusable("ca_file", ca_file, "certificates")) from exc
    if client_cert:
        try:
            file, key = client_cert[0], client_cert[-1]
            context.load_cert_chain(file, key, str)  # no password: OpenSSL would ask for one
        except (OSError, ValueError) as exc:
            files = " and ".join(client_cert)
            raise CertificateError(
                _unusable("client_cert", files, "a certificate and its key without a password")
            ) from exc
    return context


def _unusable(setting: str, files: str, what: str) -> str:
    return f"{setting} names {files}, which cannot be read as {what}; write the path of a PEM file."
