"""An authority for tests, and a client of TLS in memory that shows its certificates."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.address import IPv4Address

from brokerkit.testing.memory import MemoryBroker, Peer

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


class Authority:
    """Signs certificates, and puts them into files of a directory."""

    def __init__(self, directory: Path, name: str = "authority", above: Authority | None = None) -> None:
        """Make the key and the file ``NAME.crt``, signed by itself or by the authority ``above``."""
        self.directory = directory
        self.path = str(directory / f"{name}.crt")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (above or self)._sign(self._name, self._key, [], authority=True)
        (directory / f"{name}.crt").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        file: str,
        subject: x509.Name | str = "",
        alternatives: list[x509.GeneralName] = [],  # noqa: B006  never changed
        *,
        expired: bool = False,
        purpose: x509.ObjectIdentifier | None = None,
        days: float = 1,
        begins: float = -1,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    ) -> x509.Certificate:
        """Make ``FILE.crt`` and ``FILE.key``; a subject that is text is a common name."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        if isinstance(subject, str):
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
        made = self._sign(subject, key, alternatives, expired=expired, purpose=purpose, days=days, begins=begins)
        (self.directory / f"{file}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        spelled = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / f"{file}.key").write_bytes(spelled)
        return made

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        alternatives: list[x509.GeneralName],
        *,
        authority: bool = False,
        expired: bool = False,
        purpose: x509.ObjectIdentifier | None = None,
        days: float = 1,
        begins: float = -1,
    ) -> x509.Certificate:
        now = datetime.now(UTC) - (2 * DAY if expired else timedelta())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not subject)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


SERVERS_ONLY = ExtendedKeyUsageOID.SERVER_AUTH


def client_context(authority: Authority, shown: str = "") -> ssl.SSLContext:
    """Give what trusts the authority's servers, whatever their name, and shows ``SHOWN.crt``."""
    context = ssl.create_default_context(cafile=authority.path)
    context.check_hostname = False
    if shown:
        files = (authority.directory / f"{shown}.{kind}" for kind in ("crt", "key"))
        context.load_cert_chain(*map(str, files))
    return context


def _wrapped(memory: MemoryBroker, port: int) -> Any:
    """Give what makes the connections of a listener, with TLS."""
    return next(server[1] for server in memory.reactor.tcpServers if server[0] == port)


class TLSPeer:
    """Raw bytes in TLS to one of a memory broker's listeners.

    ``greeting`` is what came before TLS began, ``text`` what has come since, ``failure`` why TLS ended, from the peer's
    point of view.
    """

    def __init__(self, memory: MemoryBroker, port: int, context: ssl.SSLContext, name: str | None = None) -> None:
        """Connect, and shake hands; ``name`` is the one that is asked for."""
        wrapped = _wrapped(memory, port)
        self.memory = memory
        self.text = b""
        self.failure: ssl.SSLError | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self.peer = Peer(memory, wrapped.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)))
        self.greeting = self.peer.take()
        self.send(b"")

    def send(self, data: bytes) -> bytes:
        """Send, and give all that has come so far."""
        unsent = [data] if data else []
        for _ in range(8):  # more than a handshake and an answer need
            try:
                self._tls.do_handshake()
                while unsent:
                    self._tls.write(unsent.pop())
                self._read()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self.failure = error
            self.peer.send(self._out.read())
            self._in.write(self.peer.take())
            self.memory.advance()
        return self.text

    def _read(self) -> None:
        while data := self._tls.read(65536):
            self.text += data
