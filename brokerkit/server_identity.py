"""Whether the certificate that a server shows is for the name that was asked for.

Twisted looks at that too, but lets a certificate pass that has no alternative names at all, whomever it was made for.
So the last word is ours: whatever goes wrong here, the handshake fails.

One certificate without alternative names is taken: the very one that the user has given as trusted, if its common name
is the one asked for.  That is what hpfeeds' documentation has one make.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.x509.oid import NameOID
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER
from service_identity import CertificateError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Sequence


@implementer(IOpenSSLClientConnectionCreator)
class Named:
    """Makes connections that end unless the server's certificate is for a name."""

    def __init__(
        self, name: str, authorities: Sequence[Certificate] | None = None, mine: PrivateCertificate | None = None
    ) -> None:
        """Trust those authorities, the system's without any, and show ``mine``; raise ``ValueError`` for no name."""
        trust = platformTrust() if authorities is None else trustRootFromCertificates(list(authorities))
        self._usual = optionsForClientTLS(name, trustRoot=trust, clientCertificate=mine)
        self._given = {one.digest("sha256") for one in authorities or ()}
        self._name = name

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Any:  # noqa: ANN401, N803
        """Give the connection, with our own check in place of Twisted's."""

        def is_right(_: object, certificate: Any, __: int, depth: int, ok: int) -> bool:  # noqa: ANN401
            if depth or not ok:  # the certificates above it are OpenSSL's to judge
                return bool(ok)
            try:
                self._check(certificate)
            except Exception:  # whatever it is, it has not been shown to be the right one
                tlsProtocol.failVerification(Failure())
                return False
            return True

        connection = self._usual.clientConnectionForTLS(tlsProtocol)
        connection.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, is_right)
        return connection

    def _check(self, certificate: Any) -> None:  # noqa: ANN401  an X509
        """Raise ``CertificateError`` or ``VerificationError`` unless the certificate is for the name."""
        by_number = isIPAddress(self._name) or isIPv6Address(self._name)
        wanted = IPAddress_ID(self._name) if by_number else DNS_ID(self._name)
        try:
            verify_service_identity(extract_patterns(certificate), [wanted], [])
        except CertificateError:
            if Certificate(certificate).digest("sha256") not in self._given or not self._is_common_name(certificate):
                raise

    def _is_common_name(self, certificate: Any) -> bool:  # noqa: ANN401
        names = certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [name.value.lower() for name in names] == [self._name.lower()]
