"""The certificates and the proxy for reaching a server. Pure."""

from dataclasses import dataclass, field

from timestep.net.proxies import parse_proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a server is reached. What is unset comes from the environment.

    Raises:
        ValueError: *proxy* cannot be a proxy's URL.
    """

    ca_file: str | None = None  # a PEM file of certificates to trust in addition to the usual ones
    # The PEM file of the certificate to show, with its key; or the file of the certificate and the
    # file of the key.
    client_cert: tuple[str, ...] = ()
    # The URL of the proxy, instead of the one that variables name. This machine needs none.
    proxy: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.proxy is not None:
            parse_proxy("proxy", self.proxy)


USUAL = Reach()
"""As the environment says."""
