"""TLS of the commands that talk to a broker: whom they trust, and what they show of themselves.

A certificate counts only if an authority that is trusted has signed it and if it is for the name that was asked for.
To go without has to be said, and is said back: a secret that is sent to a stranger is no secret.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = click.Path(exists=True, dir_okay=False)


@attrs.frozen
class Trust:
    """How one connection is made secure; paths are of files in PEM.

    Without ``ca`` the authorities of the system are trusted; ``name`` is the one that the broker's certificate has to
    have, that of the host if it is empty.  With ``insecure`` any certificate will do.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    name: str = ""
    insecure: bool = False

    def creator(self, host: str) -> Any:  # noqa: ANN401  an IOpenSSLClientConnectionCreator
        """Give what makes connections to that host; raise ``OperatorError`` for a file that cannot be used."""
        # Imported here: it is slow to load, and only TLS needs it.
        from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
        from zope.interface import directlyProvides

        from brokerkit.server_identity import Named

        name = self.name or host
        mine = self._mine()
        if self.insecure:
            anybody = _Anybody(_options(mine), name)
            directlyProvides(anybody, IOpenSSLClientConnectionCreator)
            return anybody
        authorities = None if self.ca is None else _authorities(self.ca)
        try:
            return Named(name, authorities, mine)
        except ValueError as error:  # no name of a host
            raise OperatorError(f"{name!r} is not a name that a certificate could have: {error}") from None

    def _mine(self) -> Any:  # noqa: ANN401  a PrivateCertificate or nothing
        if self.cert is None:
            return None
        from OpenSSL.SSL import Error
        from twisted.internet import ssl

        key = self.key or self.cert
        try:
            return ssl.PrivateCertificate.loadPEM(_read(key) + b"\n" + _read(self.cert))
        except (Error, ValueError, TypeError):
            raise OperatorError(
                f"--cert {self.cert} and --key {key}: expected a certificate and its own key, in PEM without a password"
            ) from None


class _Anybody:
    """Makes connections that ask no certificate for anything."""

    def __init__(self, options: Any, name: str) -> None:  # noqa: ANN401  CertificateOptions
        self._options = options
        self._name = name

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:  # noqa: ANN401, ARG002, N803  Twisted's names
        from OpenSSL.SSL import Connection

        connection = Connection(self._options.getContext(), None)
        connection.set_tlsext_host_name(self._name.encode("idna"))
        return connection


def _options(mine: Any) -> Any:  # noqa: ANN401  a PrivateCertificate or nothing; CertificateOptions
    from twisted.internet import ssl

    return ssl.CertificateOptions() if mine is None else mine.options()


def _authorities(path: str) -> list[Any]:
    """Read every certificate in a file."""
    from cryptography.x509 import load_pem_x509_certificates
    from OpenSSL.crypto import X509
    from twisted.internet import ssl

    try:
        found = load_pem_x509_certificates(_read(path))
    except ValueError:
        raise OperatorError(f"--ca {path}: expected certificates in PEM") from None
    return [ssl.Certificate(X509.from_cryptography(one)) for one in found]


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None


def tls_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of TLS; it gets a ``Trust`` or ``None`` as ``trust``."""

    @wraps(command)
    def told(
        *,
        tls: bool,
        ca: str | None,
        cert: str | None,
        key: str | None,
        tls_name: str,
        insecure: bool,
        **others: Any,  # noqa: ANN401  the command's own
    ) -> None:
        others["trust"] = _told(tls, Trust(ca, cert, key, tls_name, insecure))
        command(**others)

    wrapped: Callable[..., None] = told
    for option in (
        click.option("--insecure", is_flag=True, help="Take any certificate: whoever answers gets the login."),
        click.option("--tls-name", default="", metavar="NAME", help="Name in the broker's certificate, if not HOST."),
        click.option("--key", type=_FILE, help="Key of --cert, if it is not in the same file."),
        click.option("--cert", type=_FILE, help="Certificate to show to the broker, in PEM."),
        click.option(
            "--ca", "--tlscert", "ca", type=_FILE, help="Certificates of whom to trust, in PEM; the system's if not."
        ),
        click.option("--tls", is_flag=True, help="Talk TLS; the other flags of TLS imply it."),
    ):
        wrapped = option(wrapped)
    return wrapped


def _told(tls: bool, trust: Trust) -> Trust | None:
    if trust.key and not trust.cert:
        raise click.UsageError("--key: give --cert beside it")
    if trust.insecure and (trust.ca or trust.name):
        raise click.UsageError("--insecure looks at no certificate: give it without --ca and --tls-name")
    if not tls and trust == Trust():
        return None
    if trust.insecure:
        click.echo("brokerkit: warning: --insecure: whoever answers is taken for the broker", err=True)
    return trust
