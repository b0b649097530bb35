"""TLS for the generator: sockets that behave in a selector as plain ones do."""

from __future__ import annotations

import ssl


class SecureSocket(ssl.SSLSocket):
    """TLS that, like other sockets, says how much it took, and not that it wants to read."""

    def send(self, data: memoryview | bytes, flags: int = 0) -> int:  # type: ignore[override]  # any buffer
        """Send some of *data*; 0 bytes if it has to be tried again."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0


def trusting(
    ca: str | None = None, cert: str | None = None, key: str | None = None, *, anybody: bool
) -> ssl.SSLContext:
    """Return what connections are made with; paths are of files in PEM; *anybody* takes any certificate."""
    context = ssl.create_default_context(cafile=ca)
    if anybody:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert, key)
    context.sslsocket_class = SecureSocket
    return context
